import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A record of Pinpoint's event stream, as far as tests look into it. */
export interface StreamedRecord {
  event_type: string;
  client: { client_id: string };
  [member: string]: unknown;
}

const program = `
import base64, boto3, json, os, sys
kinesis = boto3.client('kinesis', endpoint_url=sys.argv[1])
records = []
for shard in kinesis.list_shards(StreamName=sys.argv[2])['Shards']:
    at = kinesis.get_shard_iterator(StreamName=sys.argv[2], ShardId=shard['ShardId'], ShardIteratorType='TRIM_HORIZON')['ShardIterator']
    while at:
        page = kinesis.get_records(ShardIterator=at)
        records += [json.loads(record['Data']) for record in page['Records']]
        at = page['Records'] and page['NextShardIterator']
print(json.dumps(records))`;

/** Everything in a Kinesis stream, shard by shard; read by boto3. */
export async function readStream(
  url: string,
  stream: string,
  env: Record<string, string>,
): Promise<StreamedRecord[]> {
  const { stdout } = await run('/usr/bin/python3', ['-c', program, url, stream], {
    env,
    maxBuffer: 100_000_000,
  });
  return JSON.parse(stdout);
}
