import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, expect, test } from 'vitest';
import { createAccountCheck } from './account-check.ts';

const asked: string[] = [];
const server = createServer((request, response) => {
  asked.push(`${request.method} ${request.url}`);
  if (request.url !== '/silent') response.setHeader('X-Amz-Pinpoint-AccountId', request.url!.slice(1));
  response.end();
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
afterAll(() => void server.close());
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const check = createAccountCheck({ accountId: '000000000000', outbound: { allowPrivateHosts: true } });
const delivery = (DeliveryUri: string) => ({ CustomDeliveryConfiguration: { DeliveryUri } });
const treatment = (DeliveryUri: string) => ({ SizePercent: 10, ...delivery(DeliveryUri) });

test('asks each URL once, and no function in Lambda', async () => {
  await check({
    ...delivery(`${url}/000000000000`),
    AdditionalTreatments: [treatment(`${url}/000000000000`)],
  });
  await check({ ...delivery('sift'), AdditionalTreatments: [treatment('sift')] });
  await check({});
  expect(asked).toEqual(['HEAD /000000000000']);
});

test('refuses a URL that does not answer with this account, by its member', async () => {
  for (const path of ['silent', '111111111111'])
    await expect(check(delivery(`${url}/${path}`))).rejects.toMatchObject({
      code: 'bad_request',
      member: '$.CustomDeliveryConfiguration.DeliveryUri',
    });
  const member = '$.AdditionalTreatments[0].CustomDeliveryConfiguration.DeliveryUri';
  await expect(check({ AdditionalTreatments: [treatment('http://127.0.0.1:1/')] })).rejects.toMatchObject({
    member,
  });
});
