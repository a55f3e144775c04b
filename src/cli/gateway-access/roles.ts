import { PosternError } from '../../base/errors.ts'
import {
  grantRole,
  listRoles,
  revokeRole,
  testRole,
  type Role,
  type RoleMember,
} from '../../gateway/operations/operations.ts'
import { command, group, JSON_OPTION, table, type ArgumentsOf } from '../program/program.ts'
import { STORE_SETTINGS, withStore } from './store.ts'

const DENIED = 1
const SETTINGS = {
  table: STORE_SETTINGS.table,
  shown: [...STORE_SETTINGS.shown, 'callers.roles'],
} as const

const GRANT_OPTIONS = {
  role: { type: 'string', required: true, describe: 'Its name.' },
  callers: {
    type: 'string',
    describe: 'Callers by the names in their certificates, with commas: console,dba-*.',
  },
  issuer: { type: 'string', describe: 'Or those with tokens of this issuer, https://…' },
  subjects: { type: 'string', describe: '… and of these subjects, with commas: anna,repo:acme/*.' },
  groups: { type: 'string', describe: '… or of these groups, with commas.' },
  clusters: {
    type: 'string',
    required: true,
    describe: 'Clusters that they may use, with commas: eu-1,us-*, or *.',
  },
  methods: {
    type: 'string',
    describe: 'Methods, with commas: package.Service/Method, package.Service/*, or *.',
  },
  services: { type: 'string', describe: 'Services to forward to, with commas, or *.' },
  replace: { type: 'boolean', default: false, describe: 'A role of that name gives way.' },
} as const

const grant = command({
  path: 'grant <role>',
  describe:
    'Say what some callers may use. It narrows what the customers allow, and never widens it. In force within a second.',
  settings: SETTINGS,
  options: GRANT_OPTIONS,
  examples: [
    [
      '$0 roles grant ops --callers console --clusters "eu-*" --methods "grpc.health.v1.Health/*"',
      'A caller with a certificate.',
    ],
    [
      '$0 roles grant ci --issuer https://login.example.com --groups deploy --clusters "*" --methods "acme.v1.Deploy/*"',
      'Whoever has a token with this group.',
    ],
  ],
  run: (args, surroundings) =>
    withStore(args, surroundings, async (tools, operator) => {
      const role = roleOf(args)
      await grantRole(tools, role, args.replace, operator)
      surroundings.output.result(`role ${role.name} is granted`)
      const isOptional = tools.settings['callers.roles'] === 'optional'
      if (isOptional && role.members.some((member) => 'name' in member))
        surroundings.output.note(
          'note: callers.roles is optional, so callers with certificates may use everything without a role',
        )
      return 0
    }),
})

const revoke = command({
  path: 'revoke <role>',
  describe: 'Take a role away. Streams that no other role allows end within a second.',
  settings: SETTINGS,
  options: { role: { type: 'string', required: true, describe: 'Its name.' } },
  run: (args, surroundings) =>
    withStore(args, surroundings, async (tools, operator) => {
      await revokeRole(tools, args.role, operator)
      surroundings.output.result(`role ${args.role} is revoked`)
      return 0
    }),
})

const list = command({
  path: 'list',
  describe: 'List roles: for whom they are, and what they allow.',
  settings: SETTINGS,
  options: { json: { type: 'boolean', default: false, describe: 'Print a JSON array.' } },
  run: (args, surroundings) =>
    withStore(args, surroundings, async (tools) => {
      const roles = await listRoles(tools)
      const rows = roles.map(({ name, members, clusters, methods, services }) => [
        name,
        members.map(memberText).join(', '),
        clusters.join(', '),
        [...methods, ...services.map((one) => `service ${one}`)].join(', '),
      ])
      surroundings.output.result(
        args.json
          ? JSON.stringify(roles, null, 2)
          : table(['ROLE', 'FOR', 'CLUSTERS', 'MAY USE'], rows),
      )
      return 0
    }),
})

const TEST_OPTIONS = {
  caller: { type: 'string', describe: 'Name of a caller, as in its certificate.' },
  issuer: { type: 'string', describe: 'Or the issuer of its token …' },
  subject: { type: 'string', describe: '… its subject …' },
  groups: { type: 'string', describe: '… and its groups, with commas.' },
  cluster: { type: 'string', required: true, describe: 'Cluster that it wants to use.' },
  method: { type: 'string', describe: 'package.Service/Method that it calls.' },
  service: { type: 'string', describe: 'Or the service that it is forwarded to.' },
  ...JSON_OPTION,
} as const

const test = command({
  path: 'test',
  describe:
    'Say whether a caller may use something, and by which role, as far as the gateway decides. Exit 0: it may, 1: it may not.',
  settings: SETTINGS,
  options: TEST_OPTIONS,
  run: (args, surroundings) =>
    withStore(args, surroundings, async (tools) => {
      const { cluster, method, service } = args
      if ((method === undefined) === (service === undefined))
        throw new PosternError('USAGE', 'name either --method or --service')
      const { isAllowed, role, text } = await testRole(tools, whoOf(args), {
        ...{ cluster, method, service },
      })
      const by = role === undefined ? 'callers with certificates need no role' : `role ${role}`
      const { output } = surroundings
      if (args.json)
        output.result(JSON.stringify({ allowed: isAllowed, role: role ?? null, text }, null, 2))
      else output.result(isAllowed ? `ALLOW  ${by}` : `DENY   ${text ?? ''}`)
      return isAllowed ? 0 : DENIED
    }),
})

/** @throws USAGE */
function roleOf(args: ArgumentsOf<typeof GRANT_OPTIONS>): Role {
  const { role: name, callers, issuer, subjects, groups, clusters, methods, services } = args
  if (issuer === undefined && (subjects !== undefined || groups !== undefined))
    throw new PosternError('USAGE', '--subjects and --groups go with --issuer')
  if (issuer !== undefined && subjects === undefined && groups === undefined)
    throw new PosternError(
      'USAGE',
      '--issuer needs --subjects or --groups; all of them: --subjects "*"',
    )
  const members: RoleMember[] = [
    ...words(callers).map((one) => ({ name: one })),
    ...words(subjects).map((subject) => ({ issuer: issuer ?? '', subject })),
    ...words(groups).map((one) => ({ issuer: issuer ?? '', group: one })),
  ]
  const lists = { clusters: words(clusters), methods: words(methods), services: words(services) }
  return { name, members, ...lists }
}

/** @throws USAGE */
function whoOf({ caller, issuer, subject, groups }: ArgumentsOf<typeof TEST_OPTIONS>) {
  if (caller !== undefined && issuer === undefined) return { caller }
  if (caller === undefined && issuer !== undefined && subject !== undefined)
    return { caller: subject, issuer, groups: words(groups) }
  throw new PosternError('USAGE', 'name either --caller, or --issuer with --subject')
}

function words(text: string | undefined): string[] {
  return text === undefined ? [] : text.split(',').map((one) => one.trim())
}

function memberText(member: RoleMember): string {
  if ('name' in member) return member.name
  const what = 'group' in member ? `group ${member.group}` : member.subject
  return `${what} of ${member.issuer}`
}

/** `gateway roles grant | revoke | list | test`, on the gateway's own store. */
export const gatewayRoles = group({
  path: 'roles',
  describe: 'Say which callers may use which clusters, methods and services.',
  commands: [grant, revoke, list, test],
})
