// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are the configuration's own placeholders
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseConfig } from './load.ts'

const catalog = { channels: {}, providers: { demo: { id: 'demo', settings: { fields: {}, required: [] } } as never } }
const env = { PATH: '/bin', HOME: '/home/ann', LANG: 'C', POSTHOUSE_SECRET: 'keep-this-to-yourself', FILES_TOKEN: 'tok-123456' }
const parse = (mcp: string) => parseConfig(`mcp:\n${mcp}`, '/etc/posthouse/posthouse.yaml', catalog, env, '/etc/posthouse')

describe('mcp: servers of tools', () => {
  it('a program gets its words, and of the environment what it needs', () => {
    const { config, secrets } = parse(
      '  files: { command: [serve, "a b; rm -rf /"], env: { TOKEN: "${env:FILES_TOKEN}" }, timeout: 5s, tools: [read], idempotent: [read] }',
    )
    assert.deepEqual(config?.mcp, [
      {
        id: 'files',
        reach: {
          kind: 'program',
          command: ['serve', 'a b; rm -rf /'],
          env: { PATH: '/bin', HOME: '/home/ann', LANG: 'C', TOKEN: 'tok-123456' },
          folder: '/etc/posthouse',
        },
        timeout: 5000,
        startTimeout: 30_000,
        tools: ['read'],
        idempotent: ['read'],
      },
    ])
    assert.ok(secrets.includes('tok-123456'))
  })

  it('an address has headers, which are secrets', () => {
    const { config, secrets } = parse(
      '  wiki: { url: "https://wiki.example/mcp", headers: { Authorization: Bearer abcdef } }\n  off: { url: "https://x.example", enabled: false }',
    )
    assert.deepEqual(
      config?.mcp.map(({ id, reach }) => [id, reach]),
      [['wiki', { kind: 'http', url: 'https://wiki.example/mcp', headers: { Authorization: 'Bearer abcdef' } }]],
    )
    assert.ok(secrets.includes('Bearer abcdef'))
  })

  for (const [text, problem] of [
    ['  x: { command: npx -y server }', /2:8 mcp\.x\.command: expected a list, found a text/],
    ['  x: { command: [] }', /2:\d+ mcp\.x\.command: the name of a program/],
    ['  x: { command: [7] }', /mcp\.x\.command\.0: expected a text/],
    ['  x: {}', /2:\d+ mcp\.x: either command or url/],
    ['  x: { command: [a], url: "https://a.example" }', /either command or url/],
    ['  x: { url: "file:///etc/passwd" }', /mcp\.x\.url: expected an address/],
    ['  x: { url: "https://ann:secret@a.example" }', /mcp\.x\.url: no name, password/],
    ['  x: { url: "https://a.example", env: { A: b } }', /mcp\.x\.env: only a command/],
    ['  x: { command: [a], headers: { A: b } }', /mcp\.x\.headers: only a url/],
    ['  x: { command: [a], env: { "A=B": c } }', /not a name of a variable/],
    ['  x: { url: "https://a.example", headers: { "A\\nB": c } }', /not a header/],
    ['  x: { command: [a], comand: [b] }', /mcp\.x\.comand: unknown key\. Did you mean "command"/],
    ['  x: { command: [a], timeout: 10m }', /mcp\.x\.timeout: must be at most 2m/],
    ['  x: { command: [a], tools: [b], idempotent: [c] }', /mcp\.x\.idempotent\.0: this tool is not among tools/],
    ['  a__b: { command: [a] }', /mcp\.a__b: a name has up to 32/],
    ['  - command: [a]', /mcp: expected servers by name, found a list/],
  ] as const)
    it(text.trim(), () => {
      const { config, problems } = parse(text)
      assert.equal(config, undefined)
      assert.match(problems.map((one) => one.text.en).join('\n'), problem)
      assert.doesNotMatch(problems.map((one) => one.text.en).join('\n'), /secret@/)
    })
})
