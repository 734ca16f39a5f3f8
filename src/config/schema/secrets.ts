import * as z from 'zod';
import { expected, openedPath, variableName } from '../values.js';

export const variableSource = z
  .strictObject({ env: variableName.describe("A variable of the worker's environment.") }, expected('{ env: NAME }'))
  .describe("A secret in a variable of the worker's environment.");
export const fileSource = z
  .strictObject(
    { file: openedPath.describe('A file that the worker can read; a final newline is cut.') },
    expected('{ file: PATH }'),
  )
  .describe('A secret in a file.');
