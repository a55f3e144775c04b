import { row } from './error-row.ts'

/** What can be wrong on one machine, before a peer is spoken to, and in answers to enrolment. */
export const LOCAL_ERRORS = {
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
  CONFIG_EXPOSED: row(
    'give-up',
    77,
    'FAILED_PRECONDITION',
    'The configuration file names a program to run, and others may write the file.',
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
  PKCS12_UNREADABLE: row(
    'give-up',
    65,
    'INVALID_ARGUMENT',
    'A PKCS#12 file is damaged, of another passphrase, or holds not one key with its certificate.',
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
  INSTALL_FAILED: row(
    'give-up',
    1,
    'FAILED_PRECONDITION',
    'A step of installing a service failed, or needs root.',
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
} as const
