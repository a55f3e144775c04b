import type { ErrorCode } from '../base/errors.ts'

/**
 * Codes that travel in GOAWAY, REFUSE, RESET and STOP (PROTOCOL 8). A number is permanent once
 * released. A receiver reads an unknown number as INTERNAL.
 */
const CODES: readonly (readonly [number, ErrorCode])[] = [
  [1, 'SHUTDOWN'],
  [2, 'PROTOCOL_VIOLATION'],
  [3, 'FRAME_TOO_LARGE'],
  [4, 'FLOW_CONTROL_VIOLATION'],
  [5, 'FLOOD'],
  [6, 'VERSION_UNSUPPORTED'],
  [7, 'PEER_SILENT'],
  [8, 'WRITE_STALLED'],
  [9, 'GOING_AWAY'],
  [10, 'BUDGET_EXHAUSTED'],
  [11, 'HANDSHAKE_LIMIT'],
  [16, 'CANCELLED'],
  [17, 'DEADLINE_EXCEEDED'],
  [18, 'STREAM_LIMIT'],
  [19, 'HEAD_TOO_LARGE'],
  [20, 'MESSAGE_TOO_LARGE'],
  [21, 'METHOD_UNKNOWN'],
  [22, 'POLICY_DENIED'],
  [23, 'CLUSTER_UNKNOWN'],
  [24, 'WRONG_CLUSTER'],
  [25, 'TARGET_FORBIDDEN'],
  [26, 'TARGET_UNREACHABLE'],
  [27, 'MALFORMED_CALL'],
  [28, 'CONNECTION_LOST'],
  [32, 'IDENTITY_ROLE'],
  [33, 'IDENTITY_TRUST_DOMAIN'],
  [34, 'IDENTITY_REVOKED'],
  [35, 'CERT_LEAF_RULES'],
  [36, 'CERT_EXPIRED'],
  [37, 'CERT_SUPERSEDED'],
  [38, 'CLUSTER_LOCKED'],
  [39, 'IDENTITY_CLONED'],
  [40, 'CA_RETIRED'],
  [41, 'SERVICE_DOWN'],
  [42, 'RENEWAL_REFUSED'],
  [43, 'CSR_INVALID'],
  [44, 'BUNDLE_REFUSED'],
  [45, 'POLICY_BUDGET'],
  [46, 'LOCKED_DOWN'],
  [47, 'REGION_REFUSED'],
  [48, 'RECORD_UNWRITABLE'],
  [49, 'SEAL_REFUSED'],
  [50, 'USER_REFUSED'],
  [255, 'INTERNAL'],
]

const BY_NUMBER = new Map<number, ErrorCode>(CODES)
const BY_CODE = new Map<ErrorCode, number>(CODES.map(([number, code]) => [code, number]))
const INTERNAL_NUMBER = 255

/** Numbers and codes that may travel, for docs and tests. */
export const WIRE_CODES: readonly (readonly [number, ErrorCode])[] = CODES

/** Returns the number that stands for a code on the wire (PROTOCOL section 8). */
export function wireNumber(code: ErrorCode): number {
  return BY_CODE.get(code) ?? INTERNAL_NUMBER
}

/** Returns the code of a number on the wire; a number that is unknown stands for INTERNAL. */
export function codeOfWireNumber(number: number): ErrorCode {
  return BY_NUMBER.get(number) ?? 'INTERNAL'
}
