/** Every command, as data. docs/reference/commands.md lists the same; a test compares them. */
import type { Call, Options } from './call.ts'
import type { Words } from './terminal.ts'

type Action = (call: Call, args: readonly string[], options: Options) => Promise<void>

export interface CommandSpec {
  readonly name: string
  /** Arguments as they are written: `<required> [optional]`. */
  readonly args?: string
  readonly description: Words
  readonly options?: readonly (readonly [flags: string, description: Words])[]
  /** Loaded only when it is called, so that help and version answer at once. */
  readonly load: () => Promise<Action>
}

const w = (en: string, zh: string): Words => ({ en, zh })

export const commandTable: readonly CommandSpec[] = [
  { name: 'start', description: w('run the gateway', '运行网关'), load: async () => (await import('./start.ts')).start },
  {
    name: 'init',
    description: w('set up: language, account, model, first channel', '初始设置：语言、账户、模型、第一个渠道'),
    options: [
      ['--language <code>', w('en or zh', 'en 或 zh')],
      ['--name <name>', w('name of the first account', '第一个账户的名称')],
      ['--password-file <path>', w('file with its password', '存有其密码的文件')],
      ['--model-api <api>', w('wire format of the model: openai, anthropic or demo', '模型的接口格式：openai、anthropic 或 demo')],
      ['--base-url <url>', w('address of the model', '模型的地址')],
      ['--api-key <key>', w('its key; env:NAME refers to a variable', '模型的密钥；env:NAME 表示引用环境变量')],
      ['--model <name>', w('its name at the provider', '模型在提供方处的名称')],
      [
        '--telegram-token <token>',
        w('token of a Telegram bot; env:NAME refers to a variable', 'Telegram 机器人令牌；env:NAME 表示引用环境变量'),
      ],
      ['--telegram-api-root <url>', w('address of the Bot API, if it is not the public one', 'Bot API 地址（非官方地址时填写）')],
      [
        '--allowed-users <ids>',
        w('ids that may talk to it, separated by commas; * for everybody', '允许与其对话的用户 ID，用逗号分隔；* 表示所有人'),
      ],
      ['--skip-tests', w('write the file without asking model and channel', '不测试模型和渠道，直接写入文件')],
      ['--force', w('replace an existing configuration (a copy is kept)', '替换已有配置（保留副本）')],
    ],
    load: async () => (await import('./init.ts')).init,
  },
  {
    name: 'doctor',
    description: w('look for problems, and say how to solve them', '检查问题并给出解决办法'),
    load: async () => (await import('./doctor.ts')).doctor,
  },
  { name: 'status', description: w('how everything does', '查看运行状况'), load: async () => (await import('./status.ts')).status },
  {
    name: 'send',
    args: '<account> <room> [text]',
    description: w('write to a room as the assistant', '以助手身份向会话发送消息'),
    options: [
      ['--thread <id>', w('thread within the room', '会话内的话题')],
      ['--group', w('the room is a group', '该会话是群组')],
      [
        '--event <type>',
        w(
          'an event, such as task_update: as data where the connector knows it, else in words',
          '事件，例如 task_update：连接器支持时以数据发送，否则以文字发送',
        ),
      ],
      ['--content <json>', w('what belongs to the event', '事件的内容')],
      [
        '--file <path>',
        w(
          'a file to go with it; where it is too large for the platform, as a link that is good for a week (needs server.public_url)',
          '随消息发送的文件；超过平台上限时改为一周内有效的链接（需要 server.public_url）',
        ),
      ],
    ],
    load: async () => (await import('./send.ts')).send,
  },
  {
    name: 'token create',
    description: w('make a token for a program', '为程序创建令牌'),
    options: [
      ['--name <name>', w('what it is for', '用途')],
      [
        '--scopes <scopes>',
        w('chat, admin, metrics; separated by commas (default: chat)', 'chat、admin、metrics，用逗号分隔（默认：chat）'),
      ],
      ['--expires <duration>', w('for example 2h or 90d (default: 90d)', '例如 2h 或 90d（默认：90d）')],
      ['--user <name>', w('whom it speaks for (default: the first account)', '代表哪个账户（默认：第一个账户）')],
    ],
    load: async () => (await import('./token.ts')).createToken,
  },
  {
    name: 'token list',
    description: w('tokens that were made', '列出已创建的令牌'),
    load: async () => (await import('./token.ts')).listTokens,
  },
  {
    name: 'token revoke',
    args: '<id>',
    description: w('make a token void', '吊销令牌'),
    load: async () => (await import('./token.ts')).revokeToken,
  },
  {
    name: 'user password',
    args: '<name>',
    description: w('set a new password', '设置新密码'),
    options: [['--password-file <path>', w('file with the password', '存有密码的文件')]],
    load: async () => (await import('./user.ts')).setPassword,
  },
  {
    name: 'config check',
    description: w('check the configuration: what passes, starts', '检查配置：检查通过即可启动'),
    options: [['--strict', w('an account that stays closed is a failure, too', '有账号被停用时也视为失败')]],
    load: async () => (await import('./config.ts')).checkConfig,
  },
  {
    name: 'config schema',
    description: w('print its JSON Schema', '输出配置的 JSON Schema'),
    load: async () => (await import('./config.ts')).printSchema,
  },
  {
    name: 'config explain',
    args: '[key]',
    description: w('what a key means and what it is now', '说明配置键的含义与当前值'),
    load: async () => (await import('./config.ts')).explainConfig,
  },
  {
    name: 'channel list',
    description: w('accounts that are configured', '列出已配置的账号'),
    load: async () => (await import('./channel.ts')).listChannels,
  },
  {
    name: 'channel test',
    args: '<account>',
    description: w('ask the platform whether it knows us', '向平台确认账号是否有效'),
    load: async () => (await import('./channel.ts')).testChannel,
  },
  {
    name: 'channel decode',
    args: '<type>',
    description: w('show what webhook calls, frames or mails are understood as', '显示 webhook 请求、帧或邮件会被解析成什么'),
    options: [
      [
        '--settings <file>',
        w('settings of the account (YAML or JSON), as below channels.NAME', '账号设置（YAML 或 JSON），与 channels.名称 下相同'),
      ],
      [
        '--requests <file>',
        w(
          'JSON lines: {method, query?, headers, raw | raw_base64}, {frame} or {raw}',
          '每行一个 JSON：{method, query?, headers, raw | raw_base64}、{frame} 或 {raw}',
        ),
      ],
      ['--now <seconds>', w('the time to judge by, in seconds since 1970', '判断所用的时间（1970 年以来的秒数）')],
      ['--bot <json>', w('who we are on the platform: {"id", "username"}', '我们在平台上的身份：{"id", "username"}')],
    ],
    load: async () => (await import('./decode.ts')).decodeUnits,
  },
  {
    name: 'channel render',
    args: '<type>',
    description: w('show the platform messages that a text becomes', '显示一段文本会变成哪些平台消息'),
    options: [
      [
        '--settings <file>',
        w('settings of the account (YAML or JSON), as below channels.NAME', '账号设置（YAML 或 JSON），与 channels.名称 下相同'),
      ],
      ['--markdown <file>', w('the text', '文本文件')],
    ],
    load: async () => (await import('./render.ts')).renderMarkdown,
  },
  {
    name: 'channel pause',
    args: '[account...]',
    description: w('receive and send nothing until it is resumed', '暂停收发，直到恢复'),
    options: [['--all', w('every account', '全部账号')]],
    load: async () => (await import('./channel.ts')).pauseChannel,
  },
  {
    name: 'channel resume',
    args: '[account...]',
    description: w('receive and send again, also after a restore', '恢复收发（包括从备份恢复之后）'),
    options: [['--all', w('every account', '全部账号')]],
    load: async () => (await import('./channel.ts')).resumeChannel,
  },
  {
    name: 'plugin new',
    args: '<name> [folder]',
    description: w('make a plugin of your own from a template that works', '从可运行的模板创建自己的插件'),
    options: [['--channel', w('one that adds a channel', '添加渠道的插件')]],
    load: async () => (await import('./plugin.ts')).newPlugin,
  },
  {
    name: 'plugin list',
    description: w('plugins that are used', '列出正在使用的插件'),
    load: async () => (await import('./plugin.ts')).listPlugins,
  },
  {
    name: 'model list',
    description: w('endpoints that are configured', '列出已配置的模型端点'),
    load: async () => (await import('./model.ts')).listModels,
  },
  {
    name: 'model test',
    args: '[endpoint]',
    description: w('ask a model a question', '向模型提一个问题'),
    load: async () => (await import('./model.ts')).testModel,
  },
  {
    name: 'model switch',
    args: '<endpoint>',
    description: w('use another model from now on', '从现在起改用另一个模型'),
    load: async () => (await import('./model.ts')).switchModel,
  },
  {
    name: 'mcp list',
    description: w('servers of tools, and what of them waits to be approved', '列出工具服务器及待批准的内容'),
    load: async () => (await import('./mcp.ts')).listMcp,
  },
  {
    name: 'mcp approve',
    args: '<server> [tool]',
    description: w('let models use a tool as it describes itself now', '批准工具当前的描述，提供给模型使用'),
    options: [
      ['--as <mark>', w('only as `mcp list` showed it: the mark stands there', '仅批准 `mcp list` 所显示的内容（以其中的标记为准）')],
    ],
    load: async () => (await import('./mcp.ts')).approveMcp,
  },
  {
    name: 'mcp test',
    args: '<server>',
    description: w('start or call a server, and ask what it offers', '启动或连接服务器，查询其提供的工具'),
    load: async () => (await import('./mcp.ts')).testMcp,
  },
  {
    name: 'dead list',
    description: w('messages and deliveries that wait for you', '列出等待处理的死信'),
    load: async () => (await import('./dead.ts')).listDead,
  },
  {
    name: 'dead retry',
    args: '<id...>',
    description: w('let them go again', '重新处理'),
    load: async () => (await import('./dead.ts')).retryDead,
  },
  {
    name: 'dead drop',
    args: '<id...>',
    description: w('give them up', '放弃处理'),
    load: async () => (await import('./dead.ts')).dropDead,
  },
  {
    name: 'database copy',
    description: w('move to another database: copies everything, and compares', '迁移到另一个数据库：复制全部数据并核对'),
    options: [
      ['--from <url>', w('what is copied (default: database.url)', '复制来源（默认：database.url）')],
      [
        '--to <url>',
        w(
          'an empty database, sqlite:path or postgres://...; env:NAME refers to a variable',
          '空数据库，sqlite:路径 或 postgres://...；env:NAME 表示引用环境变量',
        ),
      ],
    ],
    load: async () => (await import('./database.ts')).copy,
  },
  {
    name: 'backup create',
    description: w('write a backup of all data, while the gateway works', '备份全部数据，网关可照常运行'),
    options: [['--to <path>', w('the new file (default: backups/posthouse-TIME.backup)', '新文件（默认：backups/posthouse-时间.backup）')]],
    load: async () => (await import('./backup.ts')).create,
  },
  {
    name: 'backup verify',
    args: '<file>',
    description: w('read a backup whole, and open samples with the key', '完整读取备份，并用密钥抽样打开'),
    load: async () => (await import('./backup.ts')).verify,
  },
  {
    name: 'backup restore',
    description: w('put a backup in the place of the data; channels are paused then', '用备份恢复数据；恢复后各渠道处于暂停状态'),
    options: [
      ['--from <file>', w('the backup', '备份文件')],
      [
        '--to <url>',
        w(
          'database to restore into (default: database.url); env:NAME refers to a variable',
          '恢复到的数据库（默认：database.url）；env:NAME 表示引用环境变量',
        ),
      ],
      ['--replace', w('move what is there aside; it is kept', '将现有数据移到一旁保留')],
      [
        '--erasures <file>',
        w('deletions that must not come back, as `backup erasures` wrote them', '不得恢复的删除记录，由 `backup erasures` 导出'),
      ],
    ],
    load: async () => (await import('./restore.ts')).restore,
  },
  {
    name: 'backup erasures',
    description: w('write down what was deleted, to restore elsewhere', '导出删除记录，供在别处恢复时使用'),
    options: [['--to <path>', w('the new file (default: the terminal)', '新文件（默认：终端）')]],
    load: async () => (await import('./restore.ts')).erasures,
  },
  {
    name: 'emulate',
    args: '<platform>',
    description: w(
      'play a platform for tests: telegram, feishu, dingtalk, slack, discord, wecom, mcp or model',
      '模拟平台以供测试：telegram、feishu、dingtalk、slack、discord、wecom、mcp 或 model',
    ),
    options: [
      ['--port <port>', w('port to listen on (default: any)', '监听端口（默认：任意）')],
      ['--token <token>', w('token that the emulated Telegram accepts', '模拟的 Telegram 接受的令牌')],
      ['--stdio', w('mcp: over input and output, as a program that a gateway starts', 'mcp：通过标准输入输出通信，供网关启动')],
    ],
    load: async () => (await import('./emulate.ts')).emulate,
  },
]

/** First words that several commands share. */
export const commandGroups: Readonly<Record<string, Words>> = {
  token: w('tokens for programs', '程序使用的令牌'),
  user: w('people who sign in', '登录的用户'),
  config: w('the configuration', '配置'),
  channel: w('chat tools', '聊天工具'),
  plugin: w('what others add', '插件'),
  model: w('models', '模型'),
  mcp: w('servers of tools', '工具服务器'),
  dead: w('dead letters', '死信'),
  database: w('the database', '数据库'),
  backup: w('backups', '备份'),
}

/** What every command understands. */
export const globalOptions = {
  config: [
    '-c, --config <path>',
    w(
      'configuration file (default: posthouse.yaml here, or POSTHOUSE_CONFIG)',
      '配置文件（默认：当前目录的 posthouse.yaml，或 POSTHOUSE_CONFIG）',
    ),
  ],
  json: ['--json', w('answer in JSON', '以 JSON 输出')],
} as const satisfies Record<string, readonly [string, Words]>

/** How a command ends. */
export const exitCodes: Readonly<Record<number, Words>> = {
  0: w('It worked. Warnings may have been shown.', '成功（可能有警告）。'),
  1: w('It did not work: something was not there, refused or not reachable.', '未成功：对象不存在、被拒绝或无法访问。'),
  2: w('It was called or configured wrongly; nothing was done.', '命令或配置有误，未执行任何操作。'),
}
