/**
 * Model servers to test against: one in-process HTTP server that speaks OpenAI's and Anthropic's format, refuses what they
 * refuse, streams at a given pace, fails on demand and writes down every call.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { answerTo, echo } from './answer.ts'
import { anthropicWire } from './anthropic.ts'
import { vectorOf } from './embed.ts'
import { createLedger, type OpenCall } from './ledger.ts'
import { openaiWire } from './openai.ts'
import { play, playEarly } from './player.ts'
import { type Answer, type Failure, type ModelCall, type Pace, type Question, Refused, type RefusedRequest, type Reply } from './script.ts'
import { argumentText, demand, header, isRecord, type Json, tokensIn, type Usage, type Wire } from './wire.ts'

const BODY_LIMIT = 32 * 1024 * 1024

export interface ModelEmulatorOptions {
  /** Default `127.0.0.1` and a free port. */
  readonly host?: string
  readonly port?: number
  /** Accepted keys; default `['test-key']`. `any`: every key, also none. */
  readonly keys?: readonly string[] | 'any'
  /** Models that exist; default `['test-model']`. `any`: every name. */
  readonly models?: readonly string[] | 'any'
  readonly pace?: Pace
  readonly reply?: Answer
  /** Parameters that are refused as unsupported: `stream_options`, `max_tokens`, `temperature`. */
  readonly refuse?: readonly string[]
  /** Longest conversation in tokens (four characters each). */
  readonly contextTokens?: number
  /** Calls of which the ledger keeps the request's body; default 10,000. */
  readonly keep?: number
}

export interface ModelEmulator extends AsyncDisposable {
  /** `http://host:port`; OpenAI clients take `${url}/v1`, Anthropic's take `url`. */
  readonly url: string
  /** Append-only. */
  readonly calls: readonly ModelCall[]
  /** Calls that have not ended. */
  readonly active: number
  /** What every call from now on is answered with. */
  reply(answer: Answer): void
  setPace(pace: Pace): void
  /** Queues a failure for the next call that it applies to. */
  failNext(failure: Failure): void
  /** Forgets failures that were not played. */
  heal(): void
  /** Resolves with the first call, past or to come, for which `holds`; looked at whenever a line changes. Rejects after `limit` ms (default 5,000). */
  waitForCall(holds: (call: ModelCall) => boolean, limit?: number): Promise<ModelCall>
}

/** Starts an emulator for tests: strict keys and models, answers at once. */
export async function createModelEmulator(options: ModelEmulatorOptions = {}): Promise<ModelEmulator> {
  const { keys = ['test-key'], models = ['test-model'], refuse = [], contextTokens = Number.POSITIVE_INFINITY } = options
  const ledger = createLedger(options.keep ?? 10_000)
  let answer: Answer = options.reply ?? echo
  let pace: Pace = options.pace ?? {}
  let failures: { readonly failure: Failure; left: number }[] = []
  let active = 0

  const takeFailure = (model: string): Failure | undefined => {
    const next = failures.find(({ failure }) => failure.model === undefined || failure.model === model)
    if (!next) return undefined
    next.left -= 1
    if (next.left <= 0) failures = failures.filter((item) => item !== next)
    return next.failure
  }

  const send = (
    response: ServerResponse,
    call: OpenCall | undefined,
    status: number,
    body: unknown,
    headers: Record<string, string> = {},
  ) => {
    if (call) ledger.end(call, status === 200 ? 'complete' : 'refused', status)
    response.writeHead(status, { 'content-type': 'application/json', 'request-id': 'req_emulated', ...headers }).end(JSON.stringify(body))
  }

  const authorize = (wire: Wire, request: IncomingMessage) => {
    const key = wire.keyOf(request.headers)
    if (keys !== 'any' && (key === undefined || !keys.includes(key))) {
      const usual = wire.forStatus(401)
      throw new Refused({ ...usual, message: `${usual.message}${key ? `: ${key}` : ''}` })
    }
  }

  const demandModel = (wire: Wire, model: string) => {
    if (models !== 'any' && !models.includes(model)) {
      const usual = wire.forStatus(404)
      throw new Refused({ ...usual, message: wire.name === 'openai' ? `The model \`${model}\` does not exist.` : `model: ${model}` })
    }
  }

  const demandSupported = (question: Question) => {
    for (const param of refuse) {
      const instead = param === 'max_tokens' ? "Use 'max_completion_tokens' instead." : ''
      demand(question.body[param] === undefined, `Unsupported parameter: '${param}' is not supported with this model. ${instead}`, {
        code: 'unsupported_parameter',
        param,
      })
    }
    const size = inputTokens(question)
    const message =
      question.wire === 'openai'
        ? `This model's maximum context length is ${contextTokens} tokens. However, your messages resulted in ${size} tokens.`
        : `prompt is too long: ${size} tokens > ${contextTokens} maximum`
    demand(size <= contextTokens, message, { code: 'context_length_exceeded', param: 'messages' })
  }

  const chat = (wire: Wire, request: IncomingMessage, response: ServerResponse, body: Json, call: OpenCall) => {
    authorize(wire, request)
    const question = wire.read(body, request.headers)
    call.question = question
    demandModel(wire, question.model)
    demandSupported(question)
    const failure = takeFailure(question.model)
    if (failure) call.failure = failure
    if (failure?.kind === 'status') throw new Refused(wire.forStatus(failure.status ?? 500, failure.code, failure.message))
    const reply = answerTo(question, answer)
    if (reply.text !== undefined) call.answer = reply.text
    ledger.changed(call)
    if (failure && ['refuse', 'web-page'].includes(failure.kind)) ledger.end(call, 'failed', 200)
    if (playEarly(response, failure)) return
    const id = `${wire.name === 'openai' ? 'chatcmpl' : 'msg'}-${call.number}`
    const usage = usageOf(question, reply)
    if (!question.stream) return send(response, call, 200, wire.whole(id, question, reply, usage))
    const frames = wire.frames(id, question, { ...pace, ...reply }, usage)
    const { firstToken = 0, interval = 0 } = { ...pace, ...reply }
    play({ response, call, ledger, frames, pace: { firstToken, interval }, failure })
  }

  const embeddings = (request: IncomingMessage, response: ServerResponse, body: Json, call: OpenCall) => {
    authorize(openaiWire, request)
    demand(typeof body.model === 'string', 'you must provide a model parameter')
    demandModel(openaiWire, body.model)
    const failure = takeFailure(body.model)
    if (failure) {
      call.failure = failure
      throw new Refused(openaiWire.forStatus(failure.status ?? 500, failure.code, failure.message))
    }
    const texts: unknown[] = Array.isArray(body.input) ? body.input : [body.input]
    demand(texts.length > 0 && texts.every((text) => typeof text === 'string' && text !== ''), "'$.input' is invalid.", { param: 'input' })
    const data = texts.map((text, index) => ({
      object: 'embedding',
      index,
      embedding: encode(vectorOf(String(text)), body.encoding_format),
    }))
    const size = texts.reduce((sum: number, text) => sum + tokensIn(String(text)), 0)
    send(response, call, 200, { object: 'list', data, model: body.model, usage: { prompt_tokens: size, total_tokens: size } })
  }

  const answerRequest = async (request: IncomingMessage, response: ServerResponse) => {
    const path = (request.url ?? '/').split('?')[0] ?? '/'
    const route = `${request.method} ${path}`
    const wire = path === '/v1/messages' || header(request.headers, 'anthropic-version') !== undefined ? anthropicWire : openaiWire
    let call: OpenCall | undefined
    try {
      if (route === 'GET /v1/models') {
        authorize(wire, request)
        const data = (models === 'any' ? ['test-model'] : models).map((id) => ({
          id,
          type: 'model',
          object: 'model',
          created: 0,
          owned_by: 'emulator',
        }))
        return send(response, undefined, 200, { object: 'list', data, has_more: false })
      }
      if (!['POST /v1/chat/completions', 'POST /v1/embeddings', 'POST /v1/messages'].includes(route)) {
        throw new Refused({ status: 404, type: 'not_found_error', message: `Unknown request URL: ${route}.` })
      }
      const { remotePort: port = 0 } = request.socket
      const line = ledger.add({ wire: wire.name, path, at: Date.now(), port, headers: request.headers })
      call = line
      active += 1
      response.on('close', () => {
        active -= 1
        if (response.writableFinished) ledger.end(line, 'complete', response.statusCode)
        else ledger.end(line, 'client-closed', response.headersSent ? response.statusCode : 0)
      })
      const body = parse(await readBody(request, wire))
      if (path === '/v1/embeddings') embeddings(request, response, body, line)
      else chat(wire, request, response, body, line)
    } catch (error) {
      if (response.headersSent || response.destroyed) return
      const refusal: RefusedRequest =
        error instanceof Refused
          ? error.refusal
          : { status: 500, type: 'api_error', message: error instanceof Error ? error.message : 'unknown' }
      send(response, call, refusal.status, wire.refusal(refusal), retryHeader(call?.failure))
    }
  }

  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => void answerRequest(request, response))
  server.listen(options.port ?? 0, options.host ?? '127.0.0.1')
  await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject))
  const { address, port, family } = server.address() as AddressInfo

  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    calls: ledger.calls,
    get active() {
      return active
    },
    reply: (next) => {
      answer = next
    },
    setPace: (next) => {
      pace = next
    },
    failNext: (failure) => {
      failures.push({ failure, left: failure.times ?? 1 })
    },
    heal: () => {
      failures = []
    },
    waitForCall: (holds, limit = 5000) => ledger.waitFor(holds, limit),
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}

/** Starts an emulator for people: any key, any model, a pace that can be watched. */
export function startModelEmulator(options: ModelEmulatorOptions = {}): Promise<ModelEmulator> {
  return createModelEmulator({ keys: 'any', models: 'any', pace: { firstToken: 300, interval: 25, chunkSize: 4 }, keep: 100, ...options })
}

async function readBody(request: IncomingMessage, wire: Wire): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > BODY_LIMIT) throw new Refused(wire.forStatus(413))
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parse(text: string): Json {
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    body = undefined
  }
  demand(isRecord(body), 'We could not parse the JSON body of your request.')
  return body
}

function retryHeader(failure: Failure | undefined): Record<string, string> {
  return failure?.retryAfter === undefined ? {} : { 'retry-after': String(failure.retryAfter) }
}

/** The official client asks for base64 unless told otherwise. */
function encode(vector: readonly number[], format: unknown): unknown {
  return format === 'base64' ? Buffer.from(new Float32Array(vector).buffer).toString('base64') : vector
}

function inputTokens(question: Question): number {
  return question.messages.reduce((sum, { text }) => sum + tokensIn(text), tokensIn(question.system))
}

function usageOf(question: Question, reply: Reply): Usage {
  if (reply.usage) return { cached: 0, ...reply.usage }
  const called = (reply.toolCalls ?? []).reduce((sum, call) => sum + tokensIn(argumentText(call.arguments)), 0)
  return { input: inputTokens(question), output: tokensIn(reply.text ?? '') + called, cached: 0 }
}

export type {
  Answer as ModelAnswer,
  Failure as PlayedModelFailure,
  ModelCall,
  Pace as ModelPace,
  Question as ModelQuestion,
  Reply as ModelReply,
  ScriptedCall as ScriptedToolCall,
  WireName as ModelWire,
} from './script.ts'
