import { row } from './error-row.ts'

/** What can be wrong with a call to the data plane's own services: what it asks for, and what lies behind the agent. */
export const SERVICE_ERRORS = {
  STORE_UNKNOWN: row(
    'give-up',
    69,
    'NOT_FOUND',
    'No store of that name is among the settings of the agent, or it holds no data of that type.',
  ),
  OBJECT_KEY_REFUSED: row(
    'give-up',
    64,
    'INVALID_ARGUMENT',
    'The key of an object lies under no prefix of its store, or is of a form that stores could read in two ways.',
  ),
  UPLOAD_TERMS_REFUSED: row(
    'give-up',
    64,
    'INVALID_ARGUMENT',
    'What a presigned URL is to allow is more than its store gives, or says too little: its life, length, parts or checksum.',
  ),
  SOURCE_UNKNOWN: row(
    'give-up',
    69,
    'NOT_FOUND',
    'No source of that name is among the settings of the agent.',
  ),
  LOG_UNKNOWN: row(
    'give-up',
    69,
    'NOT_FOUND',
    'A source of logs has no log of these labels, or needs others.',
  ),
  CURSOR_INVALID: row(
    'give-up',
    64,
    'INVALID_ARGUMENT',
    'A cursor is none that was told, or of another log.',
  ),
  QUERY_REFUSED: row(
    'give-up',
    64,
    'INVALID_ARGUMENT',
    'A query cannot be read, asks for what the settings of the agent do not let be seen, or for more at once than they allow.',
  ),
  SECRET_NAME_REFUSED: row(
    'give-up',
    64,
    'INVALID_ARGUMENT',
    'The scope or name of a secret is of a form that its backend does not take, or that could be read in two ways.',
  ),
  SECRET_TOO_LARGE: row(
    'give-up',
    64,
    'INVALID_ARGUMENT',
    'The value of a secret has over 64 KiB.',
  ),
  WRITE_UNKNOWN: row(
    'give-up',
    69,
    'UNKNOWN',
    'A backend was sent a write and did not answer: it may have done it or not. Listing tells.',
  ),
  TASK_REFUSED: row(
    'give-up',
    64,
    'INVALID_ARGUMENT',
    'The definition of a task is malformed, names an image that the settings of the agent do not list, or holds data in line that belongs into a store.',
  ),
  TASK_CONFLICT: row(
    'give-up',
    64,
    'ALREADY_EXISTS',
    'An attempt was dispatched before, with another definition.',
  ),
  EVENT_REFUSED: row(
    'give-up',
    64,
    'INVALID_ARGUMENT',
    'An event of a run names no action, attempt or phase, or has more or longer attributes than are taken.',
  ),
  EVENTS_FULL: row(
    'retry',
    69,
    'RESOURCE_EXHAUSTED',
    'The agent keeps no more events of runs until the control plane has taken some; or the gateway takes no more of this agent for now.',
  ),
  TAILS_FULL: row(
    'retry',
    69,
    'RESOURCE_EXHAUSTED',
    'As many tails of logs run as the agent lets at once: of that source, or of all.',
  ),
  CREDENTIALS_MISSING: row(
    'retry',
    69,
    'FAILED_PRECONDITION',
    'The agent finds no credentials for what lies behind it, or they are not taken.',
  ),
  BACKEND_UNREACHABLE: row(
    'retry',
    69,
    'UNAVAILABLE',
    'What lies behind the agent (a store, a secrets backend, Prometheus) does not answer.',
  ),
  BACKEND_REFUSED: row(
    'give-up',
    69,
    'FAILED_PRECONDITION',
    'What lies behind the agent has refused a request. Its own words are not passed on: the log of the agent has the id and the status.',
  ),
} as const
