import type { GoogleAuth } from 'google-auth-library'

/** Returns Google's own finder of credentials: a key file or that of a federation where one is named, else what the platform gives. */
export async function googleAuth(
  keyFile: string | undefined,
  scopes: readonly string[],
): Promise<GoogleAuth> {
  const { GoogleAuth: Auth } = await import('google-auth-library')
  const auth = new Auth({ scopes: [...scopes], ...(keyFile === undefined ? {} : { keyFile }) })
  // A key file vouches for itself (google.aip.dev/auth/4111): nobody else need be asked for a token.
  auth.useJWTAccessWithScope = true
  return auth
}
