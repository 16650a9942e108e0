/** What a large file costs while it passes through: up by the web chat's door, sealed on the disk, and down again. */
import { readFileSync, writeFileSync } from 'node:fs'
import { createModelEmulator, createTelegramEmulator } from '@posthouse/testkit'
import { signUp } from './person.ts'
import { startTarget, type Target, usage } from './target.ts'

const MB = 1024 * 1024
const SIZE = 50 * MB
const CHUNK = MB / 4

export async function measureFiles(): Promise<void> {
  await using telegram = await createTelegramEmulator({ keep: 10 })
  await using model = await createModelEmulator({ keep: 10 })
  await using target = await startTarget('gateway', { telegram, model })
  const headers = await signUp(target)
  // What the first small file loads is not what a large one costs.
  await upload(target, headers, MB)
  await new Promise((resolve) => setTimeout(resolve, 2000))
  const before = usage(target.child.pid).rss
  forgetPeak(target)
  const up = performance.now()
  const id = await upload(target, headers, SIZE)
  const upTook = performance.now() - up
  const upPeak = peak(target)
  forgetPeak(target)
  const down = performance.now()
  const size = await download(target, headers, id)
  const downTook = performance.now() - down
  if (size !== SIZE) throw new Error(`${size} bytes came back of ${SIZE}`)
  console.log(
    `a file of ${SIZE / MB} MB: RSS before ${before.toFixed(0)} MB; up in ${upTook.toFixed(0)} ms, peak +${(upPeak - before).toFixed(0)} MB; down in ${downTook.toFixed(0)} ms, peak +${(peak(target) - before).toFixed(0)} MB`,
  )
}

async function upload({ url }: Target, headers: Record<string, string>, size: number): Promise<string> {
  const boundary = 'bench'
  const encoder = new TextEncoder()
  const body = async function* () {
    yield encoder.encode(
      `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="a.bin"\r\ncontent-type: application/octet-stream\r\n\r\n`,
    )
    for (let sent = 0; sent < size; sent += CHUNK) yield new Uint8Array(CHUNK).fill(sent / CHUNK)
    yield encoder.encode(`\r\n--${boundary}--\r\n`)
  }
  const response = await fetch(`${url}/api/v1/files`, {
    method: 'POST',
    headers: { ...headers, 'content-type': `multipart/form-data; boundary=${boundary}` },
    body: body(),
    duplex: 'half',
  } as RequestInit)
  if (!response.ok) throw new Error(`the upload was refused: ${response.status} ${await response.text()}`)
  return ((await response.json()) as { id: string }).id
}

async function download({ url }: Target, headers: Record<string, string>, id: string): Promise<number> {
  const response = await fetch(`${url}/api/v1/files/${id}`, { headers })
  let size = 0
  for await (const chunk of response.body ?? []) size += chunk.length
  return size
}

/** The highest RSS since the last call of `forgetPeak`, in MB. */
const peak = ({ child }: Target) => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024
const forgetPeak = ({ child }: Target) => writeFileSync(`/proc/${child.pid}/clear_refs`, '5')
