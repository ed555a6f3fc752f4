"""Where the words of the small Wan model's tokenizer come from: prompts of the kind people write."""

SENTENCES = """\
A red boat drifts on a calm lake at sunrise, mist over the water, mountains in the distance.
A cat sleeps on a windowsill while rain runs down the glass, soft light, shallow focus.
Waves break against dark rocks below a white lighthouse, seagulls circling, slow motion.
A woman in a yellow coat walks through a crowded street at night, neon signs reflected in puddles.
An old man repairs a wooden clock in his workshop, warm lamp light, dust in the air, close-up.
A child runs across a green field with a kite, blue sky with white clouds, wide angle.
A steam train crosses a stone bridge over a deep valley in autumn, orange and golden leaves.
Two horses gallop along a beach at sunset, spray rising from the wet sand, tracking shot.
A castle on a hill under a starry night sky, a full moon, clouds passing quickly, time lapse.
A robot waters plants in a glass greenhouse, sunlight through the leaves, gentle camera movement.
A chef slices vegetables on a board, steam rising from a pot, detailed, realistic, documentary style.
Snow falls on a quiet village, smoke from the chimneys, lights in the windows, early evening.
A dragon flies over a burning city, embers in the air, dramatic lighting, fantasy art.
A spaceship lands on a desert planet with two suns, dust clouds, cinematic, science fiction.
A field of sunflowers moves in the wind, bees from flower to flower, macro, summer.
A portrait of a young woman with freckles and green eyes, natural light, film grain, sharp focus.
A portrait of a man with a grey beard and a black hat, studio lighting, dark background.
A dog jumps into a river after a ball, water splashing everywhere, high speed camera.
An astronaut rides a horse on mars, photograph, highly detailed, high quality.
A bowl of fresh fruit on a table, apples, pears, grapes and oranges, oil painting, still life.
A forest path in the fog, tall trees, rays of light, moss and ferns, calm and mysterious mood.
A city skyline from above, glass towers, traffic below, aerial view from a drone, blue hour.
A ballet dancer turns on an empty stage, a single spotlight, black background, elegant movement.
Fish swim around a coral reef, clear turquoise water, beams of sunlight from the surface.
A glass of water falls from a table and breaks on the floor, slow motion, white background.
A candle burns in a dark room, the flame moving slightly, wax running down the side.
A painter stands before a large canvas, brush in hand, colours on the floor, bright studio.
A waterfall in the jungle, rainbow in the spray, parrots flying past, lush green plants.
A market in a narrow street, people buying spices, baskets of red, yellow and brown powder.
A small house by the sea, a garden full of roses, a fence, an open door, watercolour.
A car drives along a winding road through the hills, camera following from behind, evening sun.
An eagle glides over snowy mountains, wings spread wide, clear cold air, long lens.
A cup of coffee on a desk beside an open book, steam curling up, morning, cosy.
A violin player performs in a subway station, people hurrying past, blurred motion, black and white.
A blue butterfly opens its wings on a pink flower, extreme close-up, soft background.
Hot air balloons rise over a valley at dawn, many colours, peaceful, panorama.
A wolf howls at the moon on a cliff, silhouette, purple sky, illustration.
A knight in shining armour stands in the rain, sword drawn, banners in the wind, epic.
A garden pond with goldfish and water lilies, a frog on a leaf, ripples, impressionist painting.
A computer made of wood and brass, gears turning, glowing tubes, steampunk, three dimensional render.
The camera moves slowly forward, then up and to the left, and at last it turns around the subject.
The camera is still; the scene is empty; nothing moves but the grass and the shadows of the clouds.
Anime style, clean lines, flat colours, large eyes, school roof, cherry blossom petals falling.
Pixel art of a hero at the entrance of a cave, torches, treasure, sixteen colours.
Pencil sketch of a bridge and a river, light shading, white paper, simple and quiet.
Blurry, low quality, bad anatomy, extra fingers, watermark, text, logo, jpeg artefacts, ugly, worst quality.
Overexposed, static, still picture, subtitles, grey, deformed, disfigured, messy background, many people.
Masterpiece, best quality, ultra detailed, sharp, intricate, award winning, trending, professional, vivid colours.
One, two, three, four, five, six, seven, eight, nine, ten; first, second, third, last, left, right, top, bottom.
Red, orange, yellow, green, blue, purple, pink, brown, black, white, grey, silver, gold, turquoise, crimson.
Square, circle, triangle, line, star, heart, cube, sphere, cone, cylinder, spiral, stripe, checkered pattern.
Spring, summer, autumn, winter, morning, noon, afternoon, evening, night, dawn, dusk, midnight, storm, rain, snow.
"""
