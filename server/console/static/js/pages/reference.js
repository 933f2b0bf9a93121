// The reference is complete without a script; this only gives it the menu and the theme.

import { token } from "../session.js";
import { furnish } from "../shell.js";

furnish({ signedIn: token() !== null });
