import { expect, test } from 'vitest';
import { operationModels } from './model.ts';
import { Router } from './router.ts';

const router = new Router(operationModels.values());

test.each([
  ['GET', '/v1/apps', 'GetApps', {}],
  ['GET', '/v1/apps/', 'GetApps', {}],
  ['GET', '/v1/apps/x/endpoints/a%2Fb', 'GetEndpoint', { ApplicationId: 'x', EndpointId: 'a/b' }],
  [
    'GET',
    '/v1/apps/x/endpoints/100%25%20%C3%BC+',
    'GetEndpoint',
    { ApplicationId: 'x', EndpointId: '100% ü+' },
  ],
  ['PUT', '/v1/apps/x/endpoints', 'UpdateEndpointsBatch', { ApplicationId: 'x' }],
  ['POST', '/v1/phone/number/validate/', 'PhoneNumberValidate', {}],
  [
    'GET',
    '/v1/tags/arn%3Aaws%3Amobiletargeting%3Aus-east-1%3A1%3Aapps%2Fx',
    'ListTagsForResource',
    { ResourceArn: 'arn:aws:mobiletargeting:us-east-1:1:apps/x' },
  ],
  ['GET', '/v1/templates/email/email', 'GetEmailTemplate', { TemplateName: 'email' }],
  [
    'GET',
    '/v1/templates/t/email/versions',
    'ListTemplateVersions',
    { TemplateName: 't', TemplateType: 'email' },
  ],
  [
    'PUT',
    '/v1/templates/t/EMAIL/active-version',
    'UpdateTemplateActiveVersion',
    { TemplateName: 't', TemplateType: 'EMAIL' },
  ],
  ['GET', '/v1/apps/channels/channels/email', 'GetEmailChannel', { ApplicationId: 'channels' }],
  [
    'GET',
    '/v1/apps/__proto__/segments/constructor',
    'GetSegment',
    { ApplicationId: '__proto__', SegmentId: 'constructor' },
  ],
])('%s %s is %s', (method, path, operation, labels) => {
  const match = router.match(method, path);
  expect(match.model.name).toBe(operation);
  expect(Object.fromEntries(match.labels)).toEqual(labels);
});

test.each([
  '/',
  '',
  '/v2/apps',
  '/v1',
  '/v1/apps/x/nothing',
  '/v1//apps',
  '/v1/apps//',
  '/v1/apps/./settings',
  '/v1/apps/../settings',
  '/v1/apps/x/endpoints/a/b',
  `/v1${'/x'.repeat(5000)}`,
  'http://other/v1/apps',
  '*',
])('%s is no path of an operation', (path) => {
  expect(() => router.match('GET', path)).toThrow('No operation has the path');
});

test('another method says which ones there are', () => {
  expect(() => router.match('PATCH', '/v1/apps/x')).toThrow('This path takes DELETE, GET, not PATCH');
  expect(() => router.match('GET', '/v1/apps/%zz')).toThrow(
    'ApplicationId: the path holds a broken percent code',
  );
  expect(() => router.match('GET', '/v1/apps/%c3%28')).toThrow('broken percent code');
});
