type Environment = Readonly<Record<string, string | undefined>>

interface ProxySettings {
  readonly 'gateway.proxy'?: string | undefined
  readonly 'gateway.noProxy'?: readonly string[]
}

/** Settings that name no proxy take the one of the environment, as programs do; `none` takes none. */
export function withProxy<T extends ProxySettings>(settings: T, environment: Environment): T {
  const named = settings['gateway.proxy']
  const proxy =
    named ?? firstOf(environment, ['HTTPS_PROXY', 'https_proxy', 'ALL_PROXY', 'all_proxy'])
  const exempt = firstOf(environment, ['NO_PROXY', 'no_proxy'])?.split(',') ?? []
  const noProxy = settings['gateway.noProxy'] ?? []
  return {
    ...settings,
    'gateway.proxy': proxy === 'none' ? undefined : proxy,
    'gateway.noProxy': noProxy.length > 0 ? noProxy : exempt.map((entry) => entry.trim()),
  }
}

function firstOf(environment: Environment, names: readonly string[]): string | undefined {
  return names.map((name) => environment[name]).find((value) => value !== undefined && value !== '')
}
