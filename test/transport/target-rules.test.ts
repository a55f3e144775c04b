import { expect } from 'chai'
import { forbiddenReason } from '../../src/transport/target-rules.ts'

describe('targets of services', () => {
  it('are never link-local, metadata, multicast or unspecified addresses, in any spelling', () => {
    for (const address of [
      '169.254.169.254',
      '169.254.0.1',
      '::ffff:169.254.169.254',
      '::ffff:a9fe:a9fe',
      '64:ff9b::a9fe:a9fe',
      '2002:a9fe:a9fe::1',
      'fe80::1',
      'fe80::1%eth0',
      'fd00:ec2::254',
      'fd00:ec2::23',
      'fd20:ce::254',
      '100.100.100.200',
      '168.63.129.16',
      '::ffff:168.63.129.16',
      '192.0.0.192',
      '0.0.0.0',
      '::',
      '255.255.255.255',
      '224.0.0.1',
      'ff02::1',
    ])
      expect(forbiddenReason(address), address).to.be.a('string')
  })

  it('may be private, loopback and public addresses', () => {
    for (const address of ['10.0.0.1', '127.0.0.1', '::1', '192.168.1.1', '8.8.8.8', 'fd00::1'])
      expect(forbiddenReason(address), address).to.equal(undefined)
  })
})
