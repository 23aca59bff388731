// The page: a slideshow of the frames, a form to ask for one, and how the workers are.

import { offer } from "./form.js";
import { health } from "./health.js";
import { LOOKS_EVERY, forever } from "./server.js";
import { look } from "./slideshow.js";

forever(look, LOOKS_EVERY);
forever(health, LOOKS_EVERY);
offer();
