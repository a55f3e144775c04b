/**
 * What may be done next: `retry` the same thing later, `reauthenticate` first (the credential is
 * at fault), or `give-up` until a person has changed something.
 */
export type Recovery = 'retry' | 'reauthenticate' | 'give-up'

export interface ErrorCodeRow {
  readonly recovery: Recovery
  /** Exit status of a command that ends with this error (sysexits.h where it has a number). */
  readonly exit: number
  /** Status that a caller sees when this error ends its call. */
  readonly grpc: string
  readonly meaning: string
}

const row = (recovery: Recovery, exit: number, grpc: string, meaning: string): ErrorCodeRow => ({
  recovery,
  exit,
  grpc,
  meaning,
})

/**
 * The closed table of errors. A code is permanent once released: logs, exit statuses and runbooks
 * cite it. `docs/ERRORS.md` is generated from here, and a test provokes each code.
 */
export const ERROR_CODES = {
  // Ours, at start.
  USAGE: row('give-up', 64, 'INVALID_ARGUMENT', 'The command line is wrong.'),
  CONFIG_INVALID: row(
    'give-up',
    78,
    'FAILED_PRECONDITION',
    'A setting is missing, unknown or out of range.',
  ),
  CONFIG_UNREADABLE: row(
    'give-up',
    66,
    'FAILED_PRECONDITION',
    'The configuration file cannot be read or is not YAML.',
  ),
  RUNTIME_UNSUPPORTED: row(
    'give-up',
    64,
    'FAILED_PRECONDITION',
    'The Node.js runtime is too old or lacks a behaviour we rely on.',
  ),
  ENVIRONMENT_UNSAFE: row(
    'give-up',
    78,
    'FAILED_PRECONDITION',
    'An environment variable would weaken or expose TLS.',
  ),
  // Local files, sockets and resources.
  FILE_UNREADABLE: row(
    'give-up',
    66,
    'FAILED_PRECONDITION',
    'A file that a setting names cannot be read.',
  ),
  KEY_EXPOSED: row(
    'give-up',
    77,
    'FAILED_PRECONDITION',
    'A private key file may be read by other users.',
  ),
  KEY_MISMATCH: row(
    'give-up',
    78,
    'FAILED_PRECONDITION',
    'The private key does not belong to the certificate.',
  ),
  KEY_LOCKED: row(
    'give-up',
    78,
    'FAILED_PRECONDITION',
    'A private key is encrypted, and its passphrase is missing or wrong.',
  ),
  CERTIFICATE_UNUSABLE: row(
    'reauthenticate',
    78,
    'FAILED_PRECONDITION',
    'Our own certificate is malformed, expired or breaks the leaf rules.',
  ),
  CSR_INVALID: row(
    'give-up',
    65,
    'INVALID_ARGUMENT',
    'A certificate signing request is malformed, too large, of a weak key, or not signed by its key.',
  ),
  RECORDS_UNUSABLE: row(
    'give-up',
    66,
    'FAILED_PRECONDITION',
    "The gateway's store cannot be opened, or its tables cannot be made.",
  ),
  NOT_KNOWN: row('give-up', 1, 'NOT_FOUND', 'What a command names is not there.'),
  TOKEN_REFUSED: row(
    'reauthenticate',
    77,
    'UNAUTHENTICATED',
    'A join token is wrong, expired, revoked or used up.',
  ),
  STATE_UNWRITABLE: row(
    'retry',
    74,
    'UNAVAILABLE',
    'A file of our own cannot be written: the disk is full or read-only, or the folder is not ours.',
  ),
  STATE_EXISTS: row(
    'give-up',
    73,
    'ALREADY_EXISTS',
    'Something is there already that a command would have to overwrite.',
  ),
  RENEWAL_REFUSED: row(
    'reauthenticate',
    77,
    'PERMISSION_DENIED',
    'The gateway renews no certificate for this one: it is unknown there, superseded, or its key is the same.',
  ),
  CA_PIN_MISMATCH: row(
    'give-up',
    77,
    'FAILED_PRECONDITION',
    'No root of the gateway has the pin that was given; nothing was sent to it.',
  ),
  ENROL_FAILED: row('retry', 69, 'UNAVAILABLE', 'The gateway did not enrol us, and says why.'),
  ENROL_ANSWER_INVALID: row(
    'give-up',
    76,
    'FAILED_PRECONDITION',
    'A gateway answered an enrolment with something that is not a certificate for us.',
  ),
  NOT_ENROLLED: row(
    'reauthenticate',
    78,
    'FAILED_PRECONDITION',
    'The agent has no certificate yet: run agent enroll, or name the files of one in identity.',
  ),
  LISTEN_FAILED: row('give-up', 69, 'UNAVAILABLE', 'An address or socket cannot be listened on.'),
  DAEMON_NOT_RUNNING: row('retry', 3, 'UNAVAILABLE', 'No daemon answers on the status socket.'),
  // Network.
  NAME_NOT_RESOLVED: row('retry', 69, 'UNAVAILABLE', 'A host name did not resolve.'),
  DIAL_FAILED: row('retry', 69, 'UNAVAILABLE', 'The TCP connection was refused or unreachable.'),
  DIAL_TIMEOUT: row(
    'retry',
    69,
    'UNAVAILABLE',
    'The peer did not complete connect, TLS and welcome in time.',
  ),
  PROXY_UNREACHABLE: row(
    'retry',
    69,
    'UNAVAILABLE',
    'The egress proxy does not answer, or cannot be reached.',
  ),
  PROXY_REFUSED: row(
    'give-up',
    69,
    'UNAVAILABLE',
    'The egress proxy does not let us through: it wants a password, or its rules forbid the gateway.',
  ),
  CONNECTION_LOST: row(
    'retry',
    69,
    'UNAVAILABLE',
    'The connection ended without a reason from the peer.',
  ),
  PEER_SILENT: row(
    'retry',
    69,
    'UNAVAILABLE',
    'Nothing was heard from the peer for the silence deadline.',
  ),
  WRITE_STALLED: row(
    'retry',
    69,
    'UNAVAILABLE',
    'The peer accepted no bytes for the silence deadline.',
  ),
  // TLS and identity.
  TLS_FAILED: row(
    'retry',
    76,
    'UNAVAILABLE',
    'The TLS handshake failed for a reason not listed here.',
  ),
  TLS_VERSION: row('give-up', 76, 'UNAVAILABLE', 'The peer offers no TLS version from 1.2 up.'),
  TLS_CIPHER: row(
    'give-up',
    76,
    'UNAVAILABLE',
    'The peers share no AEAD cipher suite with forward secrecy.',
  ),
  TLS_ALPN: row('give-up', 76, 'UNAVAILABLE', 'The peer did not negotiate the protocol postern/1.'),
  CERT_MISSING: row('give-up', 77, 'UNAUTHENTICATED', 'The peer presented no certificate.'),
  CERT_EXPIRED: row(
    'reauthenticate',
    77,
    'UNAUTHENTICATED',
    'The certificate is past its notAfter.',
  ),
  CERT_NOT_YET_VALID: row(
    'retry',
    77,
    'UNAUTHENTICATED',
    'The certificate is before its notBefore: compare the clocks.',
  ),
  CERT_UNTRUSTED: row(
    'give-up',
    77,
    'UNAUTHENTICATED',
    'The certificate does not chain to a trusted CA.',
  ),
  CERT_PURPOSE: row(
    'give-up',
    77,
    'UNAUTHENTICATED',
    'The extended key usage does not allow this role.',
  ),
  CERT_NAME: row(
    'give-up',
    77,
    'UNAUTHENTICATED',
    'The certificate does not name the host that was dialled.',
  ),
  CERT_LEAF_RULES: row(
    'give-up',
    77,
    'UNAUTHENTICATED',
    'The leaf certificate breaks a rule of docs/ARCHITECTURE.md, "Identity".',
  ),
  IDENTITY_ROLE: row(
    'give-up',
    77,
    'PERMISSION_DENIED',
    'The identity has another role than this listener serves.',
  ),
  IDENTITY_TRUST_DOMAIN: row(
    'give-up',
    77,
    'PERMISSION_DENIED',
    'The identity belongs to another trust domain.',
  ),
  IDENTITY_REVOKED: row('give-up', 77, 'PERMISSION_DENIED', 'The identity has been revoked.'),
  CA_RETIRED: row(
    'reauthenticate',
    77,
    'UNAUTHENTICATED',
    'The CA that issued the certificate is trusted no more: it must be renewed.',
  ),
  CLUSTER_LOCKED: row(
    'give-up',
    77,
    'PERMISSION_DENIED',
    'The cluster is locked: its agents are let in again when it is unlocked.',
  ),
  CERT_SUPERSEDED: row(
    'give-up',
    77,
    'UNAUTHENTICATED',
    'A later certificate of the same agent is in use.',
  ),
  IDENTITY_CLONED: row(
    'give-up',
    77,
    'PERMISSION_DENIED',
    'Two live agents present the same certificate from different places.',
  ),
  BUNDLE_REFUSED: row(
    'give-up',
    77,
    'PERMISSION_DENIED',
    'A trust bundle is not signed by a root that is trusted, or is older than ours.',
  ),
  CA_STEP_REFUSED: row(
    'give-up',
    1,
    'FAILED_PRECONDITION',
    'A step of the change of CA is out of order, or would cut somebody off.',
  ),
  HANDSHAKE_LIMIT: row(
    'retry',
    75,
    'RESOURCE_EXHAUSTED',
    'Too many, too large or too slow handshakes before authentication.',
  ),
  PEER_REFUSED: row(
    'retry',
    77,
    'UNAUTHENTICATED',
    'The peer closed right after the TLS handshake, as it does when it refuses a certificate.',
  ),
  // The peer broke, or does not share, docs/PROTOCOL.md.
  VERSION_UNSUPPORTED: row('give-up', 76, 'UNIMPLEMENTED', 'The peers share no protocol version.'),
  PROTOCOL_VIOLATION: row(
    'retry',
    76,
    'INTERNAL',
    'The peer sent a malformed or unexpected frame.',
  ),
  FRAME_TOO_LARGE: row(
    'retry',
    76,
    'INTERNAL',
    'The peer announced a payload over the limit of its frame type.',
  ),
  FLOW_CONTROL_VIOLATION: row(
    'retry',
    76,
    'INTERNAL',
    'The peer sent more bytes than it was granted.',
  ),
  FLOOD: row('retry', 76, 'RESOURCE_EXHAUSTED', 'The peer crossed an abuse limit.'),
  BUDGET_EXHAUSTED: row(
    'retry',
    75,
    'RESOURCE_EXHAUSTED',
    'The byte budget of this process is in use.',
  ),
  // What the peer told us, or we told it.
  GOING_AWAY: row('retry', 75, 'UNAVAILABLE', 'The peer is draining and takes no new streams.'),
  SHUTDOWN: row('give-up', 0, 'UNAVAILABLE', 'This side was asked to stop.'),
  // One stream or call.
  CANCELLED: row('give-up', 1, 'CANCELLED', 'The call was cancelled.'),
  DEADLINE_EXCEEDED: row(
    'retry',
    1,
    'DEADLINE_EXCEEDED',
    'The deadline passed before the call ended.',
  ),
  STREAM_LIMIT: row(
    'retry',
    75,
    'RESOURCE_EXHAUSTED',
    'Too many streams are open on the session, or opened too fast.',
  ),
  HEAD_TOO_LARGE: row(
    'give-up',
    1,
    'RESOURCE_EXHAUSTED',
    'Name, metadata or trace context exceed their limits.',
  ),
  MESSAGE_TOO_LARGE: row(
    'give-up',
    1,
    'RESOURCE_EXHAUSTED',
    'A message exceeds rpc.messageBytesMax.',
  ),
  MALFORMED_CALL: row(
    'give-up',
    1,
    'INTERNAL',
    'The head, messages or trailer of a call cannot be decoded.',
  ),
  METHOD_UNKNOWN: row(
    'give-up',
    1,
    'UNIMPLEMENTED',
    'The cluster offers no such method or service.',
  ),
  POLICY_DENIED: row(
    'give-up',
    1,
    'PERMISSION_DENIED',
    'The policy of the agent does not allow this caller that method or service.',
  ),
  CLUSTER_UNKNOWN: row(
    'retry',
    1,
    'UNAVAILABLE',
    'No tunnel of that cluster is connected to the gateway.',
  ),
  WRONG_CLUSTER: row(
    'retry',
    1,
    'UNAVAILABLE',
    'The call names another cluster than the agent belongs to.',
  ),
  TARGET_FORBIDDEN: row(
    'give-up',
    1,
    'PERMISSION_DENIED',
    'The target resolves to a link-local or metadata address.',
  ),
  TARGET_UNREACHABLE: row(
    'retry',
    1,
    'UNAVAILABLE',
    'The target of the service refused or did not answer the connection.',
  ),
  INTERNAL: row('retry', 70, 'INTERNAL', 'A fault of ours: report it with the id from the log.'),
} as const satisfies Record<string, ErrorCodeRow>

export type ErrorCode = keyof typeof ERROR_CODES
