/** For parts that are tested without a log and without figures. */
import type { Logger } from '@posthouse/contract'
import type { Observer } from '../../src/ports/observer.ts'

const nothing = () => {}
const log: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing }
const observer: Pick<Observer, 'ticket' | 'frame' | 'cached'> = { ticket: nothing, frame: nothing, cached: nothing }

export const silent = { log, observer }
