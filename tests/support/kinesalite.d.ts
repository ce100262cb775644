declare module 'kinesalite' {
  import type { Server } from 'node:http';

  /** A Kinesis-compatible server that keeps its streams in memory. */
  export default function kinesalite(options?: { createStreamMs?: number; shardLimit?: number }): Server;
}
