import net from 'node:net';

/** Ranges that are not the public internet (IANA special-purpose registries, RFC 6890 and its updates). */
const privateRanges: [string, number, string][] = [
  ['0.0.0.0', 8, 'unspecified'],
  ['10.0.0.0', 8, 'private'],
  ['100.64.0.0', 10, 'shared (carrier NAT)'],
  ['127.0.0.0', 8, 'loopback'],
  ['169.254.0.0', 16, 'link-local'],
  ['172.16.0.0', 12, 'private'],
  ['192.0.0.0', 24, 'reserved'],
  ['192.0.2.0', 24, 'reserved for documentation'],
  ['192.88.99.0', 24, 'reserved'],
  ['192.168.0.0', 16, 'private'],
  ['198.18.0.0', 15, 'reserved for benchmarks'],
  ['198.51.100.0', 24, 'reserved for documentation'],
  ['203.0.113.0', 24, 'reserved for documentation'],
  ['224.0.0.0', 4, 'multicast'],
  ['240.0.0.0', 4, 'reserved'],
  ['::1', 128, 'loopback'],
  ['fc00::', 7, 'private'],
  ['fe80::', 10, 'link-local'],
  ['ff00::', 8, 'multicast'],
  // Tunnels and the protocol assignments: 6to4 and Teredo addresses carry an IPv4 address inside.
  ['2001::', 23, 'reserved'],
  ['2001:db8::', 32, 'reserved for documentation'],
  ['2002::', 16, '6to4'],
  ['3fff::', 20, 'reserved for documentation'],
];

/** Instance metadata services of clouds: they hand credentials to whoever can make a server connect there. */
const metadataAddresses = ['169.254.169.254', '169.254.170.2', '100.100.100.200', 'fd00:ec2::254'].map(
  bytesOf,
);

const ranges = privateRanges.map(([address, bits, name]) => ({ bytes: bytesOf(address), bits, name }));

/**
 * Why no connection is made to this address (`loopback`, `private` …), or undefined when one may be.
 * IPv6 addresses that stand for an IPv4 one (mapped, NAT64) are judged by that.
 */
export function refusalOf(address: string, allowPrivate: boolean): string | undefined {
  if (!net.isIP(address)) return 'not an IP address';
  const bytes = embeddedIpv4(bytesOf(address)) ?? bytesOf(address);
  if (metadataAddresses.some((metadata) => metadata.equals(bytes)))
    return 'the address of a metadata service';
  if (allowPrivate) return undefined;
  const range = ranges.find((candidate) => isWithin(bytes, candidate.bytes, candidate.bits));
  if (range) return range.name;
  // Of IPv6, only 2000::/3 is given out to the public internet.
  if (bytes.length === 16 && (bytes[0]! & 0xe0) !== 0x20) return 'reserved';
  return undefined;
}

function isWithin(address: Buffer, network: Buffer, bits: number): boolean {
  if (address.length !== network.length) return false;
  for (let bit = 0; bit < bits; bit += 8) {
    const mask = (0xff00 >> Math.min(8, bits - bit)) & 0xff;
    if ((address[bit / 8]! & mask) !== (network[bit / 8]! & mask)) return false;
  }
  return true;
}

/** The IPv4 address in `::ffff:a.b.c.d`, `::ffff:0:a.b.c.d`, `::a.b.c.d` and `64:ff9b::a.b.c.d`. */
function embeddedIpv4(bytes: Buffer): Buffer | undefined {
  if (bytes.length !== 16) return undefined;
  const prefix = bytes.subarray(0, 12).toString('hex');
  const known = [
    '00000000000000000000ffff',
    '0000000000000000ffff0000',
    '000000000000000000000000',
    '0064ff9b0000000000000000',
  ];
  const isPlain = prefix === known[2] && bytes.readUInt32BE(12) <= 1;
  return known.includes(prefix) && !isPlain ? bytes.subarray(12) : undefined;
}

/** The 4 or 16 bytes of an address that `net.isIP` accepts. */
function bytesOf(address: string): Buffer {
  if (net.isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  const text = address
    .replace(/%.*$/, '')
    .replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) =>
      [(Number(a) << 8) | Number(b), (Number(c) << 8) | Number(d)]
        .map((group) => group.toString(16))
        .join(':'),
    );
  const [head = '', tail] = text.split('::');
  const groups = (part: string) =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const bytes = Buffer.alloc(16);
  before.forEach((group, index) => {
    bytes.writeUInt16BE(group, index * 2);
  });
  after.forEach((group, index) => {
    bytes.writeUInt16BE(group, 16 - (after.length - index) * 2);
  });
  return bytes;
}
