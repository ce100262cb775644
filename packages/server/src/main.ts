import { existsSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';

// Sources are stripped and compiled once; where the folder cannot be written, Node goes without.
enableCompileCache(fileURLToPath(new URL('../../../node_modules/.cache/postrider', import.meta.url)));
if (existsSync('postrider.env')) process.loadEnvFile('postrider.env');

const program = new Command('postrider')
  .description('Reaches your own users by e-mail, SMS and push, over the Amazon Pinpoint API.')
  .showHelpAfterError()
  .configureHelp({ sortSubcommands: true });

program
  .command('start')
  .description('run the server: everything in one place, or one role of an installation on a shared database')
  .addOption(new Option('--role <role>', 'run this role only').choices(['api', 'worker']))
  .action(async ({ role }: { role?: 'api' | 'worker' }) => {
    if (role) await (await import('./roles/run.ts')).runRole(role, process.env);
    else await (await import('./start.ts')).start(process.env);
  });

program
  .command('migrate')
  .description('bring the database to the schema of this version')
  .action(async () => (await import('./commands/migrate.ts')).migrateCommand(process.env));

program.command('warm', { hidden: true }).action(async () => (await import('./roles/warm.ts')).warm());

const keys = program.command('keys').description('access keys that sign requests');
keys
  .command('list')
  .description('list the access keys')
  .action(async () => (await import('./commands/keys.ts')).listKeys(process.env));
keys
  .command('create')
  .description('make an access key and print its secret, once')
  .argument('<name>', 'what the key is for')
  .action(async (name: string) => (await import('./commands/keys.ts')).createKey(process.env, name));
keys
  .command('revoke')
  .description('end an access key')
  .argument('<id>', 'id of the key')
  .action(async (id: string) => (await import('./commands/keys.ts')).revokeKey(process.env, id));

program
  .command('rebuild-analytics')
  .description('compute the figures of analytics again from the log, while events go on')
  .argument('[application]', 'id of one application; all of them when absent')
  .option('--forget-dropped-days', 'also where the log no longer holds the first days of the figures')
  .action(async (application: string | undefined, options: { forgetDroppedDays?: boolean }) =>
    (await import('./commands/analytics.ts')).rebuildAnalytics(process.env, application, options),
  );

program
  .command('demo')
  .description('the demo that the first start made')
  .command('remove')
  .description('remove the demo application with everything in it, its template and its file')
  .action(async () => (await import('./commands/demo.ts')).removeDemo(process.env));

try {
  await program.parseAsync();
} catch (error) {
  // What went wrong is in the message; the place in the source is for POSTRIDER_LOG_LEVEL=debug.
  const detailed = ['debug', 'trace'].includes(process.env.POSTRIDER_LOG_LEVEL ?? '');
  console.error(error instanceof Error && !detailed ? `postrider: ${error.message}` : error);
  process.exit(1);
}
