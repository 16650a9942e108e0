/** What is built in and may be configured. */
import type { Channel } from '@posthouse/contract'
import { dingtalk } from './channels/dingtalk/index.ts'
import { discord } from './channels/discord/index.ts'
import { email } from './channels/email/index.ts'
import { feishu } from './channels/feishu/index.ts'
import { slack } from './channels/slack/index.ts'
import { telegram } from './channels/telegram/index.ts'
import { webhook } from './channels/webhook/index.ts'
import { wecom } from './channels/wecom/index.ts'
import type { Catalog } from './config/index.ts'
import { providers } from './models/index.ts'
import { loadPlugin } from './plugins/index.ts'

export const catalog: Catalog = {
  channels: {
    telegram: telegram as unknown as Channel,
    email: email as unknown as Channel,
    feishu: feishu as unknown as Channel,
    dingtalk: dingtalk as unknown as Channel,
    discord: discord as unknown as Channel,
    slack: slack as unknown as Channel,
    wecom: wecom as unknown as Channel,
    webhook: webhook as unknown as Channel,
  },
  providers,
  plugin: loadPlugin,
}
