import { expect } from 'chai'
import fc from 'fast-check'
import { holdsImage, readImage } from '../../src/dataplane/tasks/image.ts'

const DIGEST = `sha256:${'0'.repeat(64)}`

describe('names of images', () => {
  for (const [text, repository, digest] of [
    ['ubuntu', 'docker.io/library/ubuntu'],
    ['team/app:1.2', 'docker.io/team/app'],
    ['registry.internal/team/app', 'registry.internal/team/app'],
    ['registry.internal:5000/app:v1', 'registry.internal:5000/app'],
    ['localhost/app', 'localhost/app'],
    [`ghcr.io/a/b:c@${DIGEST}`, 'ghcr.io/a/b', DIGEST],
  ] as const)
    it(`are read as container runtimes do: ${text}`, () => {
      expect(readImage(text)).to.deep.equal({ repository, digest })
    })

  for (const text of [
    '',
    'UPPER/case',
    'a b',
    'registry.internal/../other/app',
    'registry.internal//app',
    'registry.internal/app/',
    'registry.internal/app@sha256:12',
    `a@${DIGEST}@${DIGEST}`,
    'https://registry.internal/app',
    'user@registry.internal/app',
    'registry.internal/app:1:2',
    'registry.internal\\evil/app',
    'registry.internal%2fapp/x.y',
    `a/${'b'.repeat(300)}`,
  ])
    it(`are refused where they could be read in two ways: ${text.slice(0, 40)}`, () => {
      expect(readImage(text)).to.equal(undefined)
    })

  it('are of what is listed, and of nothing that only begins alike', () => {
    const holds = (list: string[], text: string): boolean => {
      const image = readImage(text)
      return image !== undefined && holdsImage(list, image)
    }
    const list = ['registry.internal/team/*', 'docker.io/library/ubuntu']
    expect(holds(list, 'registry.internal/team/app:1')).to.equal(true)
    expect(holds(list, 'ubuntu:24.04')).to.equal(true)
    for (const text of [
      'registry.internal.evil.example/team/app',
      'registry.internal/team-evil/app',
      'registry.internal:5000/team/app',
      'evil/registry.internal/team/app',
      'ubuntu-evil',
      'docker.io.evil.example/library/ubuntu',
    ])
      expect(holds(list, text), text).to.equal(false)
  })

  it('never throw, whatever they are, and read alike when they are written in full', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 80 }), (text) => {
        const image = readImage(text)
        return image === undefined || readImage(image.repository)?.repository === image.repository
      }),
    )
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z.:/@-]{1,24}$/), (text) => {
        const image = readImage(text)
        return image === undefined || readImage(image.repository)?.repository === image.repository
      }),
    )
  })
})
