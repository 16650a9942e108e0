/** The tool `current_time`: date and time now, in any time zone. */
import type { Tool } from '@posthouse/contract'

/** `now`: epoch milliseconds. */
export function createCurrentTime(now: () => number): Tool {
  return {
    name: 'current_time',
    description: 'The current date, time and day of the week. Use it whenever the answer depends on what time it is.',
    parameters: {
      type: 'object',
      properties: {
        time_zone: {
          type: 'string',
          minLength: 1,
          maxLength: 64,
          description: "IANA name of a time zone, such as Asia/Shanghai; the server's own when absent",
        },
      },
      required: [],
      additionalProperties: false,
    },
    idempotent: true,
    run: async (args) => timeIn(now(), args.time_zone as string | undefined),
  }
}

/** As `2026-02-03T04:05:06+08:00 (Tuesday, Asia/Shanghai)`. */
function timeIn(at: number, timeZone: string | undefined): string {
  const format = formatIn(timeZone)
  const parts = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value]))
  const offset = parts.timeZoneName?.replace('GMT', '') || '+00:00'
  const time = `${parts.year}-${parts.month}-${parts.day}T${parts.hour}:${parts.minute}:${parts.second}${offset}`
  return `${time} (${parts.weekday}, ${format.resolvedOptions().timeZone})`
}

function formatIn(timeZone: string | undefined): Intl.DateTimeFormat {
  const two = '2-digit'
  try {
    return new Intl.DateTimeFormat('en-US', {
      ...(timeZone === undefined ? {} : { timeZone }),
      year: 'numeric',
      month: two,
      day: two,
      hour: two,
      minute: two,
      second: two,
      hourCycle: 'h23',
      weekday: 'long',
      timeZoneName: 'longOffset',
    })
  } catch (cause) {
    throw new Error(`there is no time zone "${timeZone}"; give an IANA name such as Europe/Berlin`, { cause })
  }
}
