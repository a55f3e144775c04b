/** Kinds of key that we make. P-256 unless somebody chooses otherwise. */
export const KEY_KINDS = ['p256', 'p384', 'ed25519', 'rsa3072'] as const
export type KeyKind = (typeof KEY_KINDS)[number]
