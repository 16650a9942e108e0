/** Rows about the servers that the nodes share: PostgreSQL, RabbitMQ, Redis. */
import type { Row } from '../../row.ts'

export const serverRows: readonly Row[] = []
