import { Command } from 'commander';
import { readVersion } from '../version.js';
import { addAbort } from './abort.js';
import { addApply } from './apply.js';
import { addApprove } from './approve.js';
import { addCertificates } from './certificates.js';
import { addCleanup } from './cleanup.js';
import { addDeploy } from './deploy.js';
import { addDev } from './dev.js';
import { addDoctor } from './doctor.js';
import { addExec } from './exec.js';
import { addFailoverTest } from './failover-test.js';
import { addFollow } from './follow.js';
import { addHistory } from './history.js';
import { addInit } from './init.js';
import type { GlobalOptions, Invocation } from './invocation.js';
import { addLogs } from './logs.js';
import { addProvision } from './provision.js';
import { addRender } from './render.js';
import { addRollback } from './rollback.js';
import { addSchema } from './schema.js';
import { addStatus } from './status.js';
import { addSwitch } from './switch.js';
import { addValidate } from './validate.js';
import { addWorker } from './worker.js';

const groups = {
  'Deploy:': [addDeploy, addRollback, addSwitch, addCleanup],
  'Look:': [addStatus, addHistory, addFollow, addLogs, addExec, addDoctor],
  'Steer:': [addApprove, addAbort],
  'Edge:': [addApply, addRender, addValidate, addCertificates, addFailoverTest],
  'Set up:': [addInit, addSchema, addDev, addWorker, addProvision],
};

/** Every command, in the groups of --help. Errors are thrown, not printed. */
export function createProgram(invocation: Invocation): Command {
  const program = new Command('bascule')
    .description('Blue/green deploys behind one HAProxy, on machines that you own.')
    .usage('COMMAND [options]')
    .option('--config <file>', 'bascule.yaml (default: BASCULE_CONFIG, else ./bascule.yaml)')
    .option('--project <name>', 'the project, where there is no bascule.yaml')
    .option('--json', 'one JSON document on stdout')
    .option('--no-color', 'no colors (NO_COLOR does the same)')
    .option('--quiet', 'no progress')
    .option('--verbose', 'say what is asked of whom, and what caused an error')
    .version(readVersion(), '--version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand(false)
    .configureHelp({ subcommandTerm: (command) => `${command.name()} ${command.usage().replace(/ ?\[options\]/, '')}` })
    .exitOverride()
    .configureOutput({ writeOut: (text) => void invocation.context.stdout.write(text), writeErr: () => undefined })
    .addHelpText(
      'after',
      '\nExamples:\n  $ bascule init && bascule dev\n  $ bascule deploy prod $(git rev-parse HEAD)\n  $ bascule rollback prod\n\nbascule COMMAND --help tells more of each.',
    )
    .hook('preAction', () => invocation.configure(program.opts<GlobalOptions>()));
  for (const [heading, commands] of Object.entries(groups)) {
    program.commandsGroup(heading);
    for (const add of commands) add(program, invocation);
  }
  for (const command of program.commands) command.configureHelp({ showGlobalOptions: true });
  return program;
}
