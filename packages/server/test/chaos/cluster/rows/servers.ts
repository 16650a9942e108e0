/** Rows about the servers that the nodes share: PostgreSQL, RabbitMQ, Redis. */
import type { Row } from '../../row.ts'
import { postgresRows } from './postgres.ts'
import { rabbitRows } from './rabbitmq.ts'
import { redisRows } from './redis.ts'

export const serverRows: readonly Row[] = [...postgresRows, ...rabbitRows, ...redisRows]
