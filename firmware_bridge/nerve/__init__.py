"""A simulated person: motor neurons, their axons in the median and ulnar nerve, muscles nearby, electrodes, days.

From the intent to the sample: `motion` (what the person does), `firing` (which neurons fire when), `axon`, `contact`
and `muscle` (what one spike looks like at an electrode), `anatomy` (who lies where, on which day), `interference`
(what is not the person's), `subject` (all of it as samples). `physiology` holds every constant, with its source.
"""
