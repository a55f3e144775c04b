/** Rules that let every caller use every method, and the services of these settings by their names. */
export function allowAll(services: string | readonly unknown[] = []): object[] {
  const rows: unknown = typeof services === 'string' ? JSON.parse(services) : services
  const names = (rows as { name: string }[]).map(({ name }) => name)
  return [{ caller: '*', methods: ['*'], services: ['*', ...names] }]
}
