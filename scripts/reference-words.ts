/** Words of the reference pages that the data itself does not have. A test sees to it that none is missing and none is left over. */
import type { Words } from '../packages/server/src/cli/terminal.ts'

const w = (en: string, zh: string): Words => ({ en, zh })

/** The English help of a figure is in its table; here is the Chinese one. */
export const metricWords: Readonly<Record<string, string>> = {
  posthouse_webhook_ack_seconds: '从解码消息到持久化确认的时间',
  posthouse_admissions_total: '消息受理次数',
  posthouse_turn_seconds: '一个轮次从领取到提交的时间',
  posthouse_own_share_seconds: '轮次中网关自身所用时间（不含模型）',
  posthouse_first_token_seconds: '从询问模型到首个输出的时间',
  posthouse_model_calls_total: '模型调用次数（按结果）',
  posthouse_model_call_seconds: '模型调用时长',
  posthouse_deliveries_total: '投递尝试次数（按结果）',
  posthouse_delivery_seconds: '成功投递的时长',
  posthouse_rate_wait_seconds: '调用为遵守平台速率而等待的时长',
  posthouse_rate_skipped_total: '因平台速率而略去的预览调用与输入提示',
  posthouse_rate_used_ratio: '本节点已占用的账号速率比例，按平台方法',
  posthouse_broker_tickets_total:
    '发往 RabbitMQ 的任务票，按结果：confirmed 已确认、refused 未能交出（改在本进程处理）、unconfirmed 未确认、foreign 读到的非本网关消息',
  posthouse_live_frames_total: '节点间经 Redis 的实时帧，按结果：sent 已发、dropped 未发、received 已收、foreign 非本网关',
  posthouse_cache_total:
    '缓存各层的查询，按结果：hit 命中、joined 等待正在生成的同一回答、miss 未命中、foreign 无法解开（视为没有）、failed 未能访问、过慢或未能存入',
  posthouse_cache_hit_ratio: '启动以来各层缓存的命中率（不计失败的查询）',
  posthouse_outside_up: '消息代理或 Redis 有响应时为 1；未配置则不出现',
  posthouse_fenced_writes_total: '因已归其他节点所有而被拒绝的操作：租约、轮次、投递',
  posthouse_nodes_live: '在同一数据库上工作的网关数量',
  posthouse_node_live: '本节点过久无法访问数据库、暂停工作时为 0',
  posthouse_leases_held: '本节点持有的租约数量',
  posthouse_inbox_lag_seconds: '等待处理的最早消息的等待时间',
  posthouse_outbox_oldest_seconds: '最早一条未完成投递的等待时间',
  posthouse_outbox_waiting: '未完成的投递数',
  posthouse_lanes: '通道数（按状态）',
  posthouse_dead_letters: '等待管理员处理的消息与投递数',
  posthouse_channel_up: '渠道正在接收时为 1；由其他节点接收时不出现',
  posthouse_channel_last_receive_age_seconds: '距平台上次响应的时间',
  posthouse_database_free_ratio: '数据库所在磁盘的剩余比例',
}

/** What each state means. */
export const stateWords: Readonly<Record<'inbox' | 'tool-call' | 'delivery', Readonly<Record<string, Words>>>> = {
  inbox: {
    pending: w('accepted and synced; waits for its turn', '已受理并落盘，等待处理'),
    claimed: w('a turn works on it', '某个轮次正在处理'),
    done: w('it has its one outcome', '已有唯一结果'),
    dead: w('it could not get an outcome by itself; an operator decides', '无法自行得到结果，等待管理员处理'),
    dropped: w('an operator gave it up', '管理员已放弃'),
  },
  'tool-call': {
    intended: w('the intent is synced; the tool may be running', '意图已落盘，工具可能正在运行'),
    done: w('the tool ended, its result is kept', '工具已完成，结果已保存'),
    failed: w('the tool did not do it, and said why', '工具未能完成，已说明原因'),
    unknown: w('interrupted: nobody knows whether it took effect; it is not repeated', '被中断，无法确定是否生效；不会重复执行'),
  },
  delivery: {
    pending: w('promised; waits for its time', '已承诺，等待发送'),
    sending: w('an attempt was journaled and may be under way', '已记录尝试，可能正在发送'),
    sent: w('the platform took all of it', '平台已全部接收'),
    dead: w('refused for good, too old or tried too often; an operator decides', '被永久拒绝、过期或尝试过多，等待管理员处理'),
    dropped: w('an operator gave it up', '管理员已放弃'),
  },
}

/** What is done after a failure of a kind. */
export const actionWords: Readonly<Record<string, Words>> = {
  retry: w('tried again later', '稍后重试'),
  hold: w('waits until the account works again', '等待账号恢复'),
  dead: w('a dead letter at once', '立即成为死信'),
  reconcile: w('the platform is asked; else sent once more, marked as possibly double', '先向平台确认；否则重发一次并标记可能重复'),
}
