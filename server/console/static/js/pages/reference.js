// The reference is complete without a script; this only gives it the menu and the theme.

import { furnish } from "../shell.js";

furnish();
