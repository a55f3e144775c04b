import { expect } from 'chai'
import fc from 'fast-check'
import { parser } from '@prometheus-io/lezer-promql'
import { Promql } from '../../src/dataplane/metrics/promql.ts'
import { readPrometheus } from '../../src/config/prometheus-row.ts'
import { RpcError } from '../../src/client.ts'

const ROW = { name: 'p', url: 'http://127.0.0.1:9090', metrics: ['up', 'http_*'] }

function promql(more: object = {}): Promql {
  return new Promql(parser, readPrometheus({ ...ROW, ...more }))
}

const said = (query: string, more: object = {}): string => {
  try {
    return promql(more).query(query)
  } catch (error) {
    return (error as RpcError).rawMessage
  }
}

/** Names of the metrics that a query asks for. */
function metricsOf(query: string): string[] {
  const names: string[] = []
  parser.parse(query).iterate({
    enter: ({ name, from, to, node }) => {
      const isMetric = name === 'Identifier' && node.parent?.name === 'VectorSelector'
      const isQuoted = name === 'QuotedLabelName' && node.parent?.name === 'LabelMatchers'
      if (isMetric || isQuoted) names.push(query.slice(from, to).replaceAll('"', ''))
    },
  })
  return names
}

describe('queries of metrics', () => {
  it('are written anew as they mean, whatever they look like', () => {
    for (const [query, written] of [
      ['up', 'up'],
      ['  up # a comment\n  ', 'up'],
      ['up{}', 'up'],
      ["up{job='a', code!~`5..`,}", 'up{job="a",code!~"5.."}'],
      ['{__name__="up"}', 'up'],
      ['{"up", "a b"="c"}', 'up{"a b"="c"}'],
      [
        'SUM BY (job) (rate(http_x[5m] offset 1h)) / 2',
        'SUM by (job) (rate(http_x[5m] offset 1h)) / 2',
      ],
      ['sum(up) without (job)', 'sum without (job) (up)'],
      ['up * on(job) group_left(x) http_y', 'up * on (job) group_left (x) http_y'],
      ['up <= bool ignoring (a) http_y', 'up <= bool ignoring (a) http_y'],
      ['max_over_time(rate(http_x[5m])[1h:1m])', 'max_over_time(rate(http_x[5m])[1h:1m])'],
      ['-up @ start() + up offset -5m', '-up @ start() + up offset -5m'],
      ['quantile(0.9, (up)) unless http_x', 'quantile(0.9, (up)) unless http_x'],
      [
        'label_replace(up, "a", "$1", "b", "(.*)\\n\\x41")',
        'label_replace(up, "a", "$1", "b", "(.*)\\nA")',
      ],
      ['time() - 1h + 0x1F + NaN', 'time() - 1h + 0x1F + NaN'],
    ] as const)
      expect(said(query), query).to.equal(written)
  })

  it('are held to the metrics and the labels that may be seen', () => {
    const labels = { labels: { namespace: ['team-a'], zone: ['a.b', 'c'] } }
    const bound = 'namespace="team-a",zone=~"a\\\\.b|c"'
    expect(said('sum(up) / http_x{job="x",namespace=~".*"}', labels)).to.equal(
      `sum(up{${bound}}) / http_x{job="x",namespace=~".*",${bound}}`,
    )
    expect(promql(labels).everything()).to.equal(`{__name__=~"up|http_.*",${bound}}`)
    for (const query of [
      'secrets',
      'upp',
      'sum(up) + secrets',
      'rate(secrets[5m])',
      'up unless secrets',
      'absent(secrets)',
      '{__name__="secrets"}',
      '{"secrets"}',
    ])
      expect(said(query), query).to.include('none of those')
    for (const query of [
      '{job="a"}',
      '{__name__=~".+"}',
      '{__name__!="x"}',
      'up{__name__=~"s.*"}',
      'sum({a="b"})',
    ])
      expect(said(query), query).to.match(/must name its metric|by no pattern/)
    expect(said('up{__name__="secrets"}')).to.include('two metrics')
    expect(said('info(up)')).to.include('info is not passed on')
  })

  it('are refused where they cannot be read, or ask for too much at once', () => {
    for (const query of [
      '',
      'up{',
      'up up',
      'sum(',
      'up{a="b"',
      'up[5m',
      '((((up)',
      'up{a="\\q"}',
      'up{a="\\377"}',
      'up; drop',
      '"up',
      'up{a="b}',
      "up{a='",
      '\u0000up',
    ])
      expect(said(query), JSON.stringify(query)).to.include('the query:')
    expect(said(`${'('.repeat(60)}up${')'.repeat(60)}`)).to.include('nested')
    expect(said(`up + ${'up + '.repeat(3000)}up`)).to.include('bytes')
    for (const query of ['rate(up[60d])', 'up offset 60d', 'max_over_time(up[60d:1m])'])
      expect(said(query), query).to.include('longer than')
    expect(said('max_over_time(up[30d:1s])')).to.include('moments')
    for (const query of ['up[5m + 1m]', 'up[step()]', 'up smoothed'])
      expect(said(query), query).to.match(/duration|not passed on/)
  })

  it('of any text are written as one that is written the same again, or refused by a typed error', () => {
    const words = fc.constantFrom(
      ...[
        'up',
        'http_x',
        'secrets',
        '(',
        ')',
        '{',
        '}',
        '[',
        ']',
        ',',
        '=',
        '=~',
        '"a"',
        "'b'",
        '`c`',
        '5m',
        ':',
        '+',
        '-',
        'by',
        'on',
        'sum',
        'rate',
        'offset',
        '@',
        '1',
        '#',
        '\n',
        '__name__',
        'bool',
        '\\',
        '"',
      ],
    )
    const one = promql({ labels: { namespace: ['team-a'] } })
    const texts = fc.oneof(
      fc.array(words, { maxLength: 20 }).map((list) => list.join(' ')),
      fc.array(words, { maxLength: 20 }).map((list) => list.join('')),
      fc.string({ unit: 'binary', maxLength: 60 }),
    )
    fc.assert(
      fc.property(texts, (text) => {
        try {
          const written = one.query(text)
          const others = metricsOf(written).filter(
            (name) => name !== 'up' && !name.startsWith('http_'),
          )
          expect(others).to.deep.equal([])
          expect(new Promql(parser, readPrometheus(ROW)).query(written)).to.equal(written)
        } catch (error) {
          if (!(error instanceof RpcError)) throw error
          expect(error.code).to.equal('QUERY_REFUSED')
        }
      }),
      { numRuns: 2000 },
    )
  })
})
