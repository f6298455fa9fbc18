import fc from 'fast-check';

/*
 * On a build machine a property draws the same cases each time, so that a failure there speaks of the
 * change and not of chance; everywhere else it draws new ones. A failure prints the seed to try again.
 */
const buildMachineSeed = 20_260_301;
if (process.env['CI'] === 'true') fc.configureGlobal({ seed: buildMachineSeed });
