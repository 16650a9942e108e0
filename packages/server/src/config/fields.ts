// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are the configuration's own placeholders
/** Every configuration key that is not a channel's or a model provider's own. docs/reference/configuration.md lists the same; a test compares. */
import { type Field, priorityNames } from '@posthouse/contract'

export const rootFields: Readonly<Record<string, Field>> = {
  language: {
    type: 'string',
    enum: ['en', 'zh'],
    description: { en: 'Language of what the terminal shows; without it that of the terminal.', zh: '终端输出的语言；不填则跟随终端。' },
  },
  server: {
    type: 'object',
    description: { en: 'Where the gateway listens.', zh: '网关监听地址。' },
    fields: {
      host: {
        type: 'string',
        default: '127.0.0.1',
        description: { en: 'Address to listen on. Loopback until you say otherwise.', zh: '监听地址，默认仅本机可访问。' },
      },
      port: {
        type: 'integer',
        minimum: 0,
        maximum: 65535,
        default: 8080,
        description: { en: 'Port; 0 takes a free one.', zh: '端口；0 表示自动选择空闲端口。' },
      },
      public_url: {
        type: 'string',
        format: 'url',
        description: {
          en: 'Address under which the world reaches this gateway; needed for webhooks.',
          zh: '外部访问本网关的地址，webhook 需要。',
        },
        examples: ['https://assistant.example.com'],
      },
      drain_delay: {
        type: 'integer',
        format: 'duration',
        default: 0,
        minimum: 0,
        maximum: 60_000,
        description: {
          en: 'How long a node that was told to end still serves while /readyz says 503, so that the balancer before it sends nobody there any more. 5s suits the configurations in deploy/.',
          zh: '节点收到停止指令后继续服务的时间；其间 /readyz 返回 503，使前面的负载均衡不再转来请求。配合 deploy/ 中的配置建议 5s。',
        },
      },
      trusted_proxies: {
        type: 'array',
        items: { type: 'string' },
        default: [],
        description: {
          en: 'Addresses of proxies whose X-Forwarded headers are believed.',
          zh: '受信任的代理地址；只有它们的 X-Forwarded 头会被采信。',
        },
      },
    },
  },
  node: {
    type: 'object',
    description: {
      en: 'This gateway among several on one PostgreSQL database.',
      zh: '多个网关共用一个 PostgreSQL 数据库时，本网关的设置。',
    },
    fields: {
      name: {
        type: 'string',
        pattern: '^[\\w.-]{1,64}$',
        description: {
          en: 'How it is called in the status and the log; without it by the name of the machine.',
          zh: '在状态与日志中显示的名称；不填则使用主机名。',
        },
        examples: ['posthouse-1'],
      },
    },
  },
  database: {
    type: 'object',
    description: { en: 'Where everything is kept.', zh: '数据存放位置。' },
    fields: {
      url: {
        type: 'string',
        pattern: '^(sqlite:.+|postgres(ql)?://.+)',
        default: 'sqlite:data/posthouse.db',
        description: {
          en: 'A SQLite file, relative to the configuration file; or a PostgreSQL database (13 or later): postgres://user:password@host/name. Files that were sent lie beside the SQLite file, else in data/.',
          zh: 'SQLite 文件（相对于配置文件所在目录），或 PostgreSQL 数据库（13 及以上）：postgres://user:password@host/name。收发的文件存放在 SQLite 文件旁，否则在 data/ 中。',
        },
        examples: ['postgres://posthouse@db.example.com/posthouse'],
      },
    },
  },
  security: {
    type: 'object',
    description: { en: 'Keys, and what may be reached.', zh: '密钥与可访问范围。' },
    fields: {
      private_addresses: {
        type: 'array',
        items: { type: 'string' },
        default: [],
        description: {
          en: 'Addresses and networks beside the public ones that may be fetched when a user, a model or a file names them, on any port. Open only what everybody who may write to the assistant may see.',
          zh: '除公网外，当用户、模型或文件给出地址时允许访问的地址与网段（任意端口）。请仅开放所有可与助手对话的人都可查看的内容。',
        },
        examples: [['10.20.0.0/16']],
      },
      key_file: {
        type: 'string',
        default: 'posthouse.key',
        description: {
          en: 'Master key, made at the first start. Keep a copy apart from the data: without it the data cannot be read.',
          zh: '主密钥，首次启动时生成。请与数据分开备份：丢失后数据无法读取。',
        },
      },
    },
  },
  broker: {
    type: 'object',
    description: { en: 'How nodes tell each other about work.', zh: '节点之间的任务通知方式。' },
    fields: {
      url: {
        type: 'string',
        format: 'secret',
        pattern: '^(embedded:|amqps?://[^/?#\\s]+([/?]\\S*)?)$',
        default: 'embedded:',
        description: {
          en: 'embedded: within this process. amqp:// or amqps://: over RabbitMQ (3.10 or newer), with user, password and virtual host as it has them.',
          zh: 'embedded：进程内；amqp:// 或 amqps://：通过 RabbitMQ（3.10 或更新），可带用户名、密码与虚拟主机。',
        },
        examples: ['amqp://posthouse:${env:RABBITMQ_PASSWORD}@rabbit.example.com:5672/posthouse'],
      },
      prefix: {
        type: 'string',
        pattern: '^[\\w.-]{1,64}$',
        default: 'posthouse',
        description: {
          en: 'Stands before the names of the queues: gateways with the same database have the same one, others another.',
          zh: '队列名的前缀：使用同一数据库的网关相同，其他网关不同。',
        },
      },
    },
  },
  redis: {
    type: 'object',
    description: {
      en: 'What nodes share while it happens: answers as they grow, and how fast is sent. Optional with one node.',
      zh: '节点之间即时共享的内容：正在生成的回答与发送速率。单节点可不配置。',
    },
    fields: {
      url: {
        type: 'string',
        format: 'secret',
        pattern: '^rediss?://[^/?#\\s]+([/?]\\S*)?$',
        description: {
          en: 'redis:// or rediss://, with user, password and number of the database as it has them. Contents are sealed before they get there.',
          zh: 'redis:// 或 rediss://，可带用户名、密码与库号。内容在发送前已加密。',
        },
        examples: ['redis://:${env:REDIS_PASSWORD}@redis.example.com:6379/0'],
      },
      prefix: {
        type: 'string',
        pattern: '^[\\w.-]{1,64}$',
        default: 'posthouse',
        description: {
          en: 'Stands before every name in Redis, like that of the broker.',
          zh: 'Redis 中所有名称的前缀，含义同 broker.prefix。',
        },
      },
    },
  },
  discovery: {
    type: 'object',
    description: {
      en: 'Where this node tells others how it is reached: programs and devices that look for a node. Optional; the nodes themselves need it not.',
      zh: '向外登记本节点地址，供其他程序与设备查找。可不配置；节点之间并不依赖它。',
    },
    fields: {
      endpoint: {
        type: 'string',
        format: 'secret',
        pattern: '^https?://[^/?#\\s]+(/\\S*)?$',
        description: {
          en: 'etcd (3.4 or newer), with user and password where it wants them. The key is there for as long as the node lives, and half a minute at the most after it.',
          zh: 'etcd（3.4 及以上）地址，可带用户名与密码。键随节点存在；节点失效后最多保留半分钟。',
        },
        examples: ['http://posthouse:${env:ETCD_PASSWORD}@etcd.example.com:2379'],
      },
      prefix: {
        type: 'string',
        pattern: '^[\\w./-]{1,128}$',
        default: '/posthouse/nodes/',
        description: { en: 'Stands before the id of the node in the key.', zh: '键中节点编号前的前缀。' },
      },
      advertise: {
        type: 'string',
        format: 'url',
        description: {
          en: 'Address of this node for others; without it the name of this machine with the port of server.port.',
          zh: '供其他程序访问本节点的地址；不填则为本机名加 server.port 端口。',
        },
        examples: ['http://10.0.0.11:8080'],
      },
    },
  },
  resources: {
    type: 'object',
    description: { en: 'Limits.', zh: '资源上限。' },
    fields: {
      max_concurrency: {
        type: 'integer',
        minimum: 1,
        maximum: 10_000,
        default: 100,
        description: { en: 'Answers that are worked on at the same time.', zh: '同时处理的回答数。' },
      },
      max_waiting: {
        type: 'integer',
        minimum: 1,
        default: 10_000,
        description: { en: 'Messages waiting for an answer; more are refused with 503.', zh: '等待回答的消息数；超出时以 503 拒绝。' },
      },
      max_waiting_per_conversation: {
        type: 'integer',
        minimum: 1,
        default: 100,
        description: { en: 'The same for one conversation.', zh: '单个对话的等待上限。' },
      },
      timeout: {
        type: 'string',
        format: 'duration',
        minimum: 1000,
        default: '180s',
        description: { en: 'How long a caller of the API waits for an answer.', zh: 'API 调用方等待回答的最长时间。' },
      },
      max_file: {
        type: 'string',
        format: 'size',
        minimum: 1024,
        default: '50MB',
        description: { en: 'Largest file that may be uploaded.', zh: '上传文件的大小上限。' },
      },
      max_stored: {
        type: 'string',
        format: 'size',
        minimum: 1024,
        default: '20GB',
        description: { en: 'All files together; more are refused.', zh: '全部文件的总大小；超出时拒绝。' },
      },
      max_stored_per_owner: {
        type: 'string',
        format: 'size',
        minimum: 1024,
        default: '2GB',
        description: {
          en: 'Files that one person uploaded, or that came in one conversation of a chat tool.',
          zh: '单个用户上传的文件，或聊天工具中单个对话的文件总大小。',
        },
      },
      requests_per_minute: {
        type: 'integer',
        minimum: 1,
        default: 600,
        description: { en: 'API requests of one caller in a minute.', zh: '单个调用方每分钟的 API 请求数。' },
      },
      max_cache: {
        type: 'string',
        format: 'size',
        minimum: 1024,
        default: '16MB',
        description: { en: 'Memory for answers that may be given again.', zh: '可重复使用的回答所占内存上限。' },
      },
    },
  },
  assistant: {
    type: 'object',
    description: { en: 'How the assistant behaves.', zh: '助手的行为。' },
    fields: {
      instructions: {
        type: 'string',
        default: 'You are a helpful assistant. Answer in the language of the question. Use Markdown where it helps.',
        description: { en: 'What the model is told before every conversation.', zh: '每次对话前给模型的说明。' },
      },
      context_tokens: {
        type: 'integer',
        minimum: 0,
        default: 8000,
        description: { en: 'Tokens of history that a request carries, estimated.', zh: '每次请求携带的历史长度（估算的 token 数）。' },
      },
      burst: {
        type: 'string',
        enum: ['coalesce', 'one-by-one'],
        default: 'coalesce',
        description: {
          en: 'Messages written while an answer is being made: answered together, or each for itself.',
          zh: '回答期间新来的多条消息：合并回答，或逐条回答。',
        },
      },
      return_after: {
        type: 'string',
        format: 'duration',
        minimum: 60_000,
        default: '2h',
        description: {
          en: 'Where a person took a conversation over: how long after their last word there the assistant answers again.',
          zh: '人工接管对话后，在其最后一次发言多久之后由助手重新回答。',
        },
      },
      cache_answers: {
        type: 'string',
        format: 'duration',
        minimum: 1000,
        description: {
          en: 'How long the answer to the first question of a conversation may be given to others who ask the same, without asking the model again. Absent: never. Case and white space make no difference between questions; files, tools, and asking again in the same conversation always ask the model.',
          zh: '对话首个问题的回答可在多长时间内直接提供给提出相同问题的其他人，而不再询问模型。不写：从不。比较问题时忽略大小写与空白；带文件、调用工具、或在同一对话中再次提问时总会询问模型。',
        },
        examples: ['10m'],
      },
    },
  },
  models: {
    type: 'object',
    description: { en: 'Which models answer.', zh: '使用哪些模型回答。' },
    fields: {
      primary: { type: 'string', description: { en: 'Name of the endpoint that answers.', zh: '首选端点的名称。' } },
      fallback: {
        type: 'array',
        items: { type: 'string' },
        default: [],
        description: { en: 'Endpoints that take over, in this order.', zh: '按顺序接替的端点。' },
      },
    },
  },
  plugins: {
    type: 'array',
    description: {
      en: 'Folders or files of plugins, which add channels. They run with all rights of the gateway: only your own, or those that you read.',
      zh: '插件的文件夹或文件，可添加渠道。插件拥有网关的全部权限：只使用你自己的或你读过的插件。',
    },
    examples: [['./plugins/pigeon']],
  },
  mcp: {
    type: 'object',
    description: { en: 'Servers of tools (Model Context Protocol), by name.', zh: '工具服务器（Model Context Protocol），以名称为键。' },
    fields: {},
  },
  channels: { type: 'object', description: { en: 'Chat tools, by account name.', zh: '聊天工具，以账号名为键。' }, fields: {} },
}

/** What every channel account may have beside its channel's own settings. */
export const accountFields: Readonly<Record<string, Field>> = {
  type: { type: 'string', description: { en: 'The channel; the account name unless given.', zh: '渠道类型；默认与账号名相同。' } },
  enabled: { type: 'boolean', default: true, description: { en: 'false: the account is closed.', zh: 'false 表示停用该账号。' } },
  allowed_users: {
    type: 'array',
    items: { type: 'id' },
    description: {
      en: 'Platform ids that may talk to the assistant. Absent: everybody; empty: nobody.',
      zh: '允许与助手对话的平台用户 ID。不写：所有人；空列表：无人。',
    },
  },
  freshness: {
    type: 'string',
    format: 'duration',
    default: '1h',
    description: {
      en: 'After this time nothing is answered or sent by itself; an operator decides.',
      zh: '超过此时间的消息不会自动回答或发送，由管理员决定。',
    },
  },
  priority: {
    type: 'string',
    enum: priorityNames,
    default: 'interactive',
    description: {
      en: 'Who is answered first when not all can be: interactive before normal before background. normal fills at most three quarters of the places, background half.',
      zh: '繁忙时的应答次序：interactive（交互）先于 normal（普通），再先于 background（后台）。normal 最多占用四分之三的名额，background 最多一半。',
    },
  },
  send_rate: {
    type: 'integer',
    minimum: 1,
    description: {
      en: "Messages per second over all rooms, in the place of the platform's figure; its limits of single methods stay.",
      zh: '每秒消息数（所有会话合计），代替平台默认值；平台对单个方法的限制仍然有效。',
    },
  },
  room_send_rate: {
    type: 'integer',
    minimum: 1,
    description: {
      en: "Messages per second in one room, in the place of the platform's figure; its limits of single methods stay.",
      zh: '单个会话每秒消息数，代替平台默认值；平台对单个方法的限制仍然有效。',
    },
  },
}

/** What every model endpoint has beside its provider's own settings. */
export const endpointFields: Readonly<Record<string, Field>> = {
  api: { type: 'string', description: { en: 'Wire format of the provider.', zh: '提供商的接口格式。' } },
}
