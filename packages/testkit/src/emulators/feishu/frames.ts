/** Frames of the long connection: protobuf, as the official clients write and read them (`pbbp2.Frame`). */

export interface Frame {
  readonly seq: bigint
  readonly log: bigint
  readonly service: number
  /** 0: control (ping, pong). 1: data. */
  readonly method: number
  readonly headers: Readonly<Record<string, string>>
  readonly payload: Uint8Array
}

export function encodeFrame(frame: Frame): Uint8Array {
  const out: number[] = []
  const varint = (value: bigint) => {
    let rest = BigInt.asUintN(64, value)
    for (; rest > 0x7fn; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80)
    out.push(Number(rest))
  }
  const bytes = (field: number, value: Uint8Array) => {
    varint(BigInt((field << 3) | 2))
    varint(BigInt(value.length))
    for (const byte of value) out.push(byte)
  }
  const number = (field: number, value: bigint) => {
    varint(BigInt(field << 3))
    varint(value)
  }
  number(1, frame.seq)
  number(2, frame.log)
  number(3, BigInt(frame.service))
  number(4, BigInt(frame.method))
  for (const [key, value] of Object.entries(frame.headers)) {
    const [name, text] = [Buffer.from(key), Buffer.from(value)]
    // No key and no value of a header is as long as 128 bytes.
    if (name.length > 127 || text.length > 127) throw new Error(`the header ${key} is too long for the emulator`)
    bytes(5, Uint8Array.from([0x0a, name.length, ...name, 0x12, text.length, ...text]))
  }
  bytes(8, frame.payload)
  return Uint8Array.from(out)
}

/** @throws RangeError for what is no frame */
export function decodeFrame(data: Uint8Array): Frame {
  const numbers = new Map<number, bigint>()
  const headers: Record<string, string> = {}
  let payload: Uint8Array = new Uint8Array()
  walk(data, (field, value) => {
    if (typeof value === 'bigint') numbers.set(field, value)
    else if (field === 5) {
      const parts: Record<number, string> = {}
      walk(value, (part, text) => {
        if (typeof text !== 'bigint') parts[part] = Buffer.from(text).toString('utf8')
      })
      headers[parts[1] ?? ''] = parts[2] ?? ''
    } else if (field === 8) payload = value
  })
  const missing = [1, 2, 3, 4].find((field) => !numbers.has(field))
  // The platform's clients refuse a frame without one of these, too.
  if (missing !== undefined) throw new RangeError(`the frame lacks field ${missing}`)
  return {
    seq: numbers.get(1) ?? 0n,
    log: numbers.get(2) ?? 0n,
    service: Number(numbers.get(3)),
    method: Number(numbers.get(4)),
    headers,
    payload,
  }
}

function walk(data: Uint8Array, look: (field: number, value: bigint | Uint8Array) => void): void {
  let at = 0
  const varint = () => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = data[at++]
      if (byte === undefined || shift > 63n) throw new RangeError('the frame ends in the middle of a number')
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
  }
  while (at < data.length) {
    const tag = Number(varint())
    if ((tag & 7) === 0) look(tag >> 3, varint())
    else if ((tag & 7) === 2) {
      const length = Number(varint())
      if (at + length > data.length) throw new RangeError('the frame ends in the middle of a field')
      look(tag >> 3, data.subarray(at, at + length))
      at += length
    } else throw new RangeError(`wire type ${tag & 7} is none of the platform's`)
  }
}
