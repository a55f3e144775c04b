/** Path below which the enrolment and the renew listener speak Enrolment over Secure Transport (RFC 7030). */
export const EST_PATH = '/.well-known/est/'

/** Path below which the enrolment listener answers proofs of possession and hands out trust bundles. */
export const POSTERN_PATH = '/.well-known/postern/'

/** Trust bundles in one answer or notice. Who is further behind asks again from the last one. */
export const BUNDLES_PAGE = 16
