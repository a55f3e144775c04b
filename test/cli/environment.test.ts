import { judgeEnvironment } from '../../src/cli/program/environment.ts'
import { codeOf } from '../support/code-of.ts'

describe('the environment of a program', () => {
  it('is refused when it weakens TLS or writes its keys', () => {
    for (const environment of [
      { NODE_TLS_REJECT_UNAUTHORIZED: '0' },
      { SSLKEYLOGFILE: '/tmp/keys' },
      { NODE_OPTIONS: '--enable-source-maps --tls-min-v1.0' },
      { NODE_OPTIONS: '--tls-max-v1.1' },
      { NODE_OPTIONS: '--tls-keylog=/tmp/keys' },
      { NODE_OPTIONS: '--inspect=0.0.0.0' },
      { NODE_OPTIONS: '--tls_keylog=/tmp/keys' },
      { NODE_OPTIONS: '--openssl-legacy-provider' },
    ])
      codeOf(() => {
        judgeEnvironment(environment, '26.1.0')
      }, 'ENVIRONMENT_UNSAFE')
    judgeEnvironment({ NODE_OPTIONS: '--enable-source-maps', SSLKEYLOGFILE: '' }, '26.1.0')
  })

  it('is refused when the runtime is too old', () => {
    for (const version of ['22.20.0', '18.0.0', ''])
      codeOf(() => {
        judgeEnvironment({}, version)
      }, 'RUNTIME_UNSUPPORTED')
  })
})
