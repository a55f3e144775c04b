/** What was measured of agents that came back. */
export interface Reconnects {
  readonly agents: number
  readonly rate: number
  readonly burst: number
  readonly downMs: number
  /** When each registered, in ms after the gateway was started again. */
  readonly times: readonly number[]
  readonly perSecond: readonly number[]
}

const WIDTH = 800
const HEIGHT = 360
const MARGIN = { left: 60, right: 60, top: 30, bottom: 50 }

/** Bars: registrations in each second. Line: agents that are back. Dashes: the rate of admission. */
export function plotReconnects({ agents, rate, times, perSecond }: Reconnects): string {
  const seconds = perSecond.length
  const most = Math.max(...perSecond, rate)
  const x = (second: number): number =>
    MARGIN.left + (second / seconds) * (WIDTH - MARGIN.left - MARGIN.right)
  const y = (fraction: number): number =>
    HEIGHT - MARGIN.bottom - fraction * (HEIGHT - MARGIN.top - MARGIN.bottom)
  const round = (value: number): string => value.toFixed(1)
  const bars = perSecond.map((count, second) => {
    const top = y(count / most)
    const width = x(second + 1) - x(second) - 4
    return `<rect x="${round(x(second) + 2)}" y="${round(top)}" width="${round(width)}" height="${round(y(0) - top)}" fill="#9ecae1"/>`
  })
  const steps = Array.from({ length: seconds * 4 + 1 }, (_, quarter) => quarter / 4)
  const curve = steps.map((second) => {
    const back = times.filter((time) => time <= second * 1000).length
    return `${round(x(second))},${round(y(back / agents))}`
  })
  const label = (at: number, level: number, text: string, anchor = 'middle'): string =>
    `<text x="${round(at)}" y="${round(level)}" text-anchor="${anchor}">${text}</text>`
  const every = Math.max(1, Math.ceil(seconds / 12))
  const ticks = Array.from({ length: seconds + 1 }, (_, second) => second)
    .filter((second) => second % every === 0)
    .map((second) => label(x(second), y(0) + 18, String(second)))
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${String(WIDTH)} ${String(HEIGHT)}" font-family="sans-serif" font-size="12">
<rect width="${String(WIDTH)}" height="${String(HEIGHT)}" fill="white"/>
${bars.join('\n')}
<line x1="${round(x(0))}" y1="${round(y(rate / most))}" x2="${round(x(seconds))}" y2="${round(y(rate / most))}" stroke="#d62728" stroke-dasharray="6 4"/>
<polyline points="${curve.join(' ')}" fill="none" stroke="#1f4e79" stroke-width="2"/>
<line x1="${round(x(0))}" y1="${round(y(0))}" x2="${round(x(seconds))}" y2="${round(y(0))}" stroke="black"/>
${ticks.join('\n')}
${label((x(0) + x(seconds)) / 2, HEIGHT - 12, 'seconds after the gateway was started again')}
${label(x(0) - 8, y(1) + 4, String(most), 'end')}
${label(x(0) - 8, y(rate / most) + 4, String(rate), 'end')}
${label(x(seconds) + 8, y(1) + 4, String(agents), 'start')}
${label(x(0), 18, 'bars: registrations per second; dashes: admission.rate', 'start')}
${label(x(seconds), 18, 'line: agents that are back', 'end')}
</svg>
`
}
