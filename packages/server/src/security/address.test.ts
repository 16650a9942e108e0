import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isPublicAddress, isWithin, networks } from './address.ts'

describe('an address', () => {
  const cases: readonly [boolean, readonly string[]][] = [
    [true, ['1.1.1.1', '8.8.8.8', '9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0', '126.255.255.255', '128.0.0.0']],
    [true, ['172.15.255.255', '172.32.0.0', '192.167.255.255', '192.169.0.0', '223.255.255.255', '168.63.129.15']],
    [true, ['2606:4700::1', '2001:4860:4860::8888', '2a00:1450::1', '64:ff9b::8.8.8.8', '64:ff9b::808:808']],
    [false, ['0.0.0.0', '0.1.2.3', '10.0.0.1', '100.64.0.1', '100.100.100.200', '127.0.0.1', '127.255.255.255', '168.63.129.16']],
    [false, ['169.254.169.254', '172.16.0.1', '172.31.255.255', '192.0.0.8', '192.0.2.1', '192.88.99.1', '192.168.0.1']],
    [false, ['198.18.0.1', '198.19.255.255', '198.51.100.1', '203.0.113.1', '224.0.0.1', '239.1.1.1', '240.0.0.1', '255.255.255.255']],
    [
      false,
      ['::', '::1', '::7f00:1', '::ffff:127.0.0.1', '::ffff:169.254.169.254', '::ffff:a9fe:a9fe', '::ffff:8.8.8.8', '::ffff:0:8.8.8.8'],
    ],
    [false, ['fc00::1', 'fd00:ec2::254', 'fe80::1', 'fe80::1%eth0', 'fec0::1', 'ff02::1', '100::1', '2001:db8::1', '3fff::1', '5f00::1']],
    [false, ['64:ff9b::127.0.0.1', '64:ff9b::10.0.0.1', '64:ff9b::a9fe:a9fe', '64:ff9b::', '64:ff9b:1::8.8.8.8']],
    [false, ['2002:7f00:1::', '2002:a00:1::1', '2001::1', '2001:0:4136:e378:8000:63bf:3fff:fdd2', '2606:4700::1%1']],
    [false, ['', 'localhost', '127.1', '0x7f000001', '1.1.1.1.', '1.1.1.256', '[::1]']],
  ]
  for (const [expected, addresses] of cases) {
    for (const address of addresses)
      it(`${address} is ${expected ? 'public' : 'not public'}`, () => assert.equal(isPublicAddress(address), expected))
  }
})

describe('a network', () => {
  it('is an address or a range', () => {
    for (const text of ['10.0.0.0/33', 'fd00::/129', '10.0.0/8', 'intranet', '']) assert.throws(() => networks([text]), text)
  })

  it('holds what is in it, in either family', () => {
    const set = networks(['10.1.0.0/16', '192.168.7.9', 'fd12::/16'])
    for (const address of ['10.1.0.0', '10.1.255.255', '192.168.7.9', 'fd12::1', '::ffff:10.1.2.3'])
      assert.ok(isWithin(address, set), address)
    for (const address of ['10.2.0.0', '192.168.7.10', 'fd13::1', '::1', 'fd12::1%1', 'x', '']) assert.ok(!isWithin(address, set), address)
  })
})
