/** People of the demo; more than a screen, few enough for seconds. */
export const demoSize = 2_000;

const firstNames = [
  'Ada',
  'Grace',
  'Linus',
  'Mary',
  'Alan',
  'Edsger',
  'Barbara',
  'Donald',
  'Radia',
  'Ken',
  'Frances',
  'Tim',
];
const countries = ['DE', 'FR', 'GB', 'US', 'JP', 'BR'] as const;
const zones: Record<(typeof countries)[number], string> = {
  DE: 'Europe/Berlin',
  FR: 'Europe/Paris',
  GB: 'Europe/London',
  US: 'America/New_York',
  JP: 'Asia/Tokyo',
  BR: 'America/Sao_Paulo',
};
const interests = ['hiking', 'cooking', 'chess', 'music'];

/**
 * A CSV of 2,000 endpoints in the columns of a Pinpoint import. Some addresses are the sandbox's magic ones: they
 * bounce, are refused, or are refused twice and then taken.
 */
export function demoAudience(): string {
  const header = [
    'Id',
    'ChannelType',
    'Address',
    'OptOut',
    'Location.Country',
    'Demographic.Timezone',
    'Attributes.Interests',
    'Attributes.Interests',
    'Metrics.Orders',
    'User.UserId',
    'User.UserAttributes.FirstName',
    'User.UserAttributes.Tier',
  ];
  const lines = Array.from({ length: demoSize }, (_, index) => {
    const name = firstNames[index % firstNames.length]!;
    const country = countries[index % countries.length]!;
    return [
      `demo-${index}`,
      'EMAIL',
      addressOf(index, name),
      index % 40 === 7 ? 'ALL' : 'NONE',
      country,
      zones[country],
      interests[index % interests.length],
      index % 3 === 0 ? interests[(index + 1) % interests.length] : '',
      index % 25,
      `user-${index}`,
      name,
      index % 5 === 0 ? 'gold' : 'standard',
    ].join(',');
  });
  return [header.join(','), ...lines, ''].join('\n');
}

function addressOf(index: number, name: string): string {
  if (index % 100 === 10) return `bounce+${index}@example.com`;
  if (index % 100 === 30) return `reject+${index}@example.com`;
  if (index % 100 === 51) return `retry+${index}@example.com`;
  return `${name.toLowerCase()}.${index}@example.com`;
}
