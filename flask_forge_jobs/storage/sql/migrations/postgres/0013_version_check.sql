-- Recording a step, from this one on, says anew which code may still store something.
SELECT 1;
