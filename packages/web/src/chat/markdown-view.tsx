/** Draws parsed Markdown as React elements: text stays text, whatever the model wrote. */
import { Image as ImageIcon } from 'lucide-react'
import { createElement, Fragment, memo, type ReactNode, useMemo, useRef } from 'react'
import { CodeBlock } from './code-block.tsx'
import { Formula } from './formula.tsx'
import { type Block, emptyStream, growStream, parseMarkdown, type Token } from './markdown.ts'

/** Elements that tokens of ours may become. */
const plainTags = new Set([
  'p',
  'h1',
  'h2',
  'h3',
  'h4',
  'h5',
  'h6',
  'ul',
  'ol',
  'li',
  'blockquote',
  'strong',
  'em',
  's',
  'thead',
  'tbody',
  'tr',
  'th',
  'td',
])
const linkSchemes = new Set(['http:', 'https:', 'mailto:'])

function parseLink(href: string | null): URL | undefined {
  try {
    const url = new URL(href ?? '')
    return linkSchemes.has(url.protocol) ? url : undefined
  } catch {
    return undefined
  }
}

function attribute(token: Token, name: string): string | null {
  const value = token.attrGet(name)
  return value === null ? null : String(value)
}

function textIn(tokens: readonly Token[]): string {
  return tokens.map((token) => (token.children ? textIn(token.children) : token.content)).join('')
}

/** A link opens apart, tells the other side nothing, and shows where it leads unless its text says so. */
function ExternalLink({ href, text, children }: { href: string | null; text: string; children: ReactNode }) {
  const url = parseLink(href)
  if (!url) return <>{children}</>
  const host = url.host || url.pathname
  return (
    <a href={url.href} target="_blank" rel="noreferrer noopener">
      {children}
      {text.includes(host) ? null : <span className="host">{` (${host})`}</span>}
    </a>
  )
}

/** A picture from elsewhere is not fetched by itself: that would tell a stranger that and when it was read. */
function RemoteImage({ token }: { token: Token }) {
  const source = attribute(token, 'src')
  const label = textIn(token.children ?? []) || source || ''
  return (
    <ExternalLink href={source} text={label}>
      <ImageIcon aria-hidden className="me-1 inline size-[1em] align-[-0.12em]" />
      {label}
    </ExternalLink>
  )
}

/** Index behind the token that closes the one at `from`. */
function closing(tokens: readonly Token[], from: number): number {
  let depth = 0
  for (let index = from; index < tokens.length; index++) {
    depth += tokens[index]?.nesting ?? 0
    if (depth === 0) return index + 1
  }
  return tokens.length
}

/** Takes `[ ]` or `[x]` off the first text of a list item. Undefined when it is no task. */
function taskOf(content: readonly Token[]): { done: boolean; content: readonly Token[] } | undefined {
  const [paragraph, inline] = content
  const text = inline?.children?.[0]
  if (paragraph?.type !== 'paragraph_open' || !inline || text?.type !== 'text') return undefined
  const match = /^\[([ xX])\]\s+/.exec(text.content)
  if (!match) return undefined
  const shorter = Object.assign(Object.create(Object.getPrototypeOf(text)) as Token, text, { content: text.content.slice(match[0].length) })
  const line = Object.assign(Object.create(Object.getPrototypeOf(inline)) as Token, inline, {
    children: [shorter, ...(inline.children ?? []).slice(1)],
  })
  return { done: match[1] !== ' ', content: [paragraph, line, ...content.slice(2)] }
}

function drawContainer(token: Token, content: readonly Token[], key: number, open: boolean): ReactNode {
  const inside = () => drawTokens(content, open)
  switch (token.type) {
    case 'paragraph_open':
      return token.hidden ? <Fragment key={key}>{inside()}</Fragment> : <p key={key}>{inside()}</p>
    case 'link_open':
      return (
        <ExternalLink key={key} href={attribute(token, 'href')} text={textIn(content)}>
          {inside()}
        </ExternalLink>
      )
    case 'table_open':
      return (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a box that scrolls must be reachable by keyboard
        <div key={key} className="table-box" tabIndex={0}>
          <table>{inside()}</table>
        </div>
      )
    case 'list_item_open': {
      const task = taskOf(content)
      if (!task) return <li key={key}>{inside()}</li>
      return (
        <li key={key} className="task">
          <input type="checkbox" checked={task.done} disabled readOnly aria-label={textIn(task.content)} />
          {drawTokens(task.content, open)}
        </li>
      )
    }
    case 'ordered_list_open':
      return (
        <ol key={key} start={Number(token.attrGet('start') ?? 1)}>
          {inside()}
        </ol>
      )
    case 'footnote_open':
      return (
        <p key={key} className="text-soft text-sm">
          <sup className="me-1">{String(token.meta?.label)}</sup>
          {inside()}
        </p>
      )
    default: {
      if (!plainTags.has(token.tag)) return <Fragment key={key}>{inside()}</Fragment>
      const align = /^text-align:(left|center|right)$/.exec(attribute(token, 'style') ?? '')?.[1]
      return createElement(token.tag, { key, ...(align ? { style: { textAlign: align } } : {}) }, inside())
    }
  }
}

function drawLeaf(token: Token, key: number, open: boolean): ReactNode {
  switch (token.type) {
    case 'inline':
      return <Fragment key={key}>{drawTokens(token.children ?? [], open)}</Fragment>
    case 'text':
    case 'text_special':
      return token.content
    case 'softbreak':
      return '\n'
    case 'hardbreak':
      return <br key={key} />
    case 'code_inline':
      return <code key={key}>{token.content}</code>
    case 'fence':
    case 'code_block':
      return <CodeBlock key={key} code={token.content} language={token.info.trim().split(/\s+/)[0] ?? ''} open={open && !isClosed(token)} />
    case 'hr':
      return <hr key={key} />
    case 'image':
      return <RemoteImage key={key} token={token} />
    case 'math_inline':
    case 'math_block':
      return (
        <Formula
          key={key}
          source={token.content}
          open={token.markup}
          close={String(token.meta?.close)}
          display={token.meta?.display === true}
        />
      )
    case 'footnote_ref':
      return <sup key={key}>{String(token.meta?.label)}</sup>
    default:
      return token.content
  }
}

/** A fence that has its end took one more line than its content and its beginning. */
function isClosed(token: Token): boolean {
  if (!token.map) return true
  const lines = token.content === '' ? 0 : token.content.replace(/\n$/, '').split('\n').length
  return token.map[1] - token.map[0] >= lines + 2
}

function drawTokens(tokens: readonly Token[], open: boolean): ReactNode[] {
  const drawn: ReactNode[] = []
  for (let index = 0; index < tokens.length; ) {
    const token = tokens[index] as Token
    if (token.nesting === 1) {
      const end = closing(tokens, index)
      drawn.push(drawContainer(token, tokens.slice(index + 1, end - 1), index, open))
      index = end
    } else {
      drawn.push(drawLeaf(token, index, open))
      index += 1
    }
  }
  return drawn
}

/** Equal words are drawn alike, but for brackets: what they mean may be defined further down. */
function drawnAlike({ block: before }: { block: Block }, { block: after }: { block: Block }): boolean {
  return before === after || (before.source === after.source && before.open === after.open && !after.source.includes('['))
}

const BlockView = memo(function BlockView({ block }: { block: Block }) {
  return <div className="block">{drawTokens(block.tokens, block.open)}</div>
}, drawnAlike)

function BlockList({ blocks }: { blocks: readonly Block[] }) {
  return (
    <div className="prose">
      {blocks.map((block, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: blocks only grow at the end
        <BlockView key={index} block={block} />
      ))}
    </div>
  )
}

/** The first line of a table, before the line that makes it one: shown a moment later, as a table. */
function isTableHead({ open, source }: Block): boolean {
  return open && /^\|[^\n]*(\n[|\s:-]*)?$/.test(source)
}

/** A text as Markdown. While `streaming`, finished blocks are parsed and drawn once. */
export function MarkdownView({ text, streaming }: { text: string; streaming: boolean }) {
  const stream = useRef(emptyStream)
  const blocks = useMemo(() => {
    if (!streaming) return parseMarkdown(text)
    stream.current = growStream(stream.current, text)
    return [...stream.current.done, ...stream.current.open.filter((block) => !isTableHead(block))]
  }, [text, streaming])
  return <BlockList blocks={blocks} />
}
