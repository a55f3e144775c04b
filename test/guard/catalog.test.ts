import { expect } from 'chai'
import { readFileSync } from 'node:fs'
import { DATA_TYPE_NAMES, dataTypeNumber, dataTypeOfNumber } from '../../src/contract/data-type.ts'
import { DataTypeSchema } from '../../src/gen/postern/v1/data_pb.js'
import { CATALOG, crossingTypes, mayCross, neverText } from '../../src/guard/catalog.ts'

/** What the document's last column means for an agent. The control plane's own users never reach one. */
function ruleOf(title: string, transits: string): string {
  if (transits.startsWith('No')) return 'never'
  if (transits.startsWith('Relayed')) return 'relay'
  return title.startsWith('User identity') ? 'control plane only' : 'metadata'
}

/** "Customer object store" and "customer's object store" are the same place. */
function place(text: string): string {
  return text.toLowerCase().replace("'s", '').replace(' db', ' database')
}

describe('the catalog of data types', () => {
  const text = readFileSync(new URL('data-protection.md', import.meta.url), 'utf8')
  const rows = text
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| ---'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
    .slice(1)

  it('says what the data-protection document says, row by row', () => {
    expect(rows).to.have.length(11)
    for (const [title = '', classification = '', residency = '', transits = ''] of rows) {
      const found = Object.values(CATALOG).find((row) => row.title === title)
      expect(found, title).to.not.equal(undefined)
      expect(found?.classification, title).to.equal(classification.toLowerCase())
      expect(place(found?.residency ?? ''), title).to.equal(place(residency))
      expect(found?.rule, title).to.equal(ruleOf(title, transits))
      const isPresigned = transits.includes('presigned')
      expect(found?.instead !== undefined, `${title}: what to use instead`).to.equal(isPresigned)
    }
  })

  it('has three types more, which are ours', () => {
    const titles = rows.map(([title]) => title)
    const ours = DATA_TYPE_NAMES.filter((type) => !titles.includes(CATALOG[type].title))
    expect(ours).to.deep.equal(['service-traffic', 'presigned-url', 'own'])
  })

  it('has the numbers and names of the descriptions in proto/', () => {
    const described = DataTypeSchema.values.slice(1)
    expect(described.map(({ number }) => dataTypeOfNumber(number))).to.deep.equal(DATA_TYPE_NAMES)
    for (const { name, number } of described) {
      const type = name.replace('DATA_TYPE_', '').toLowerCase().replaceAll('_', '-')
      expect(dataTypeOfNumber(number)).to.equal(type)
    }
    expect(dataTypeOfNumber(0)).to.equal(undefined)
    expect(dataTypeOfNumber(DATA_TYPE_NAMES.length + 1)).to.equal(undefined)
    expect(dataTypeNumber(undefined)).to.equal(0)
  })

  it('says of what never crosses which call to use, where there is one', () => {
    expect(neverText('task-io')).to.include('CreateDownloadUrl')
    expect(neverText('container-image')).to.not.include('use ')
    expect(neverText('user-identity')).to.include('stays in the control plane')
    expect(crossingTypes().every(mayCross)).to.equal(true)
    expect(crossingTypes()).to.not.include('own')
  })
})
