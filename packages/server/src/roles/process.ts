import { join } from 'node:path';
import { type Clock, systemClock } from '../platform/clock.ts';
import type { Config } from '../platform/config.ts';
import { type Database, openDatabase } from '../platform/database.ts';
import { createLog, type Log } from '../platform/log.ts';
import { createMetrics, type Metrics } from '../platform/metrics.ts';
import { createFolderObjects, type ObjectStore } from '../platform/objects.ts';
import type { OutboundPolicy } from '../platform/outbound.ts';
import { createOutboundConnections, type OutboundConnections } from '../platform/outbound-connections.ts';
import { createSecrets, type Secrets } from '../platform/secrets.ts';

export const roleNames = ['api', 'worker'] as const;
export type RoleName = (typeof roleNames)[number];

/** What a process makes once and everything in it uses. */
export interface ProcessContext {
  role: RoleName | 'command';
  config: Config;
  database: Database;
  log: Log;
  clock: Clock;
  secrets: Secrets;
  objects: ObjectStore;
  metrics: Metrics;
  /** How hosts that users named are reached. Whoever drains the process closes the connections last. */
  outbound: OutboundPolicy & { connections: OutboundConnections };
  /** Under which a role registers as a worker, when its supervisor has chosen it. */
  workerId?: string;
}

/** A running role. */
export interface Role {
  /** Resolves when the role does its work; `port` is where its HTTP server listens. */
  ready: Promise<{ port: number }>;
  /** Takes no new work and resolves when what was begun is finished. */
  drain(): Promise<void>;
}

/** Opens what a process of this role needs. `databaseUrl` is the external or the embedded server's. */
export function openProcess(
  role: ProcessContext['role'],
  config: Config,
  shared: { databaseUrl: string; masterKey: Uint8Array },
): ProcessContext {
  const log = createLog({ role, level: role === 'command' ? 'warn' : config.logLevel });
  const database = openDatabase({
    url: shared.databaseUrl,
    maxConnections: config.databaseConnections,
    applicationName: `postrider ${role}`,
    onError: (error) => log.warn({ reason: error.message }, 'a database connection broke'),
  });
  return {
    role,
    config,
    database,
    log,
    clock: systemClock,
    secrets: createSecrets(shared.masterKey),
    objects: createFolderObjects(join(config.dataDir, 'objects')),
    metrics: createMetrics(role),
    outbound: { allowPrivateHosts: config.allowPrivateHosts, connections: createOutboundConnections() },
  };
}
