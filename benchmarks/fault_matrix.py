"""Every fault that the design names, injected into flights of an arm; what must hold is asserted.

    python -m benchmarks.fault_matrix [--rows 2 3 ...] [--soak 60] [--loose] [robot.hz=100 ...]
    python -m benchmarks.fault_matrix robot=so101 robot.port=/dev/ttyACM0 robot.id=arm ...

Words as for `vla run` name the arm; without `robot=` LeRobot's genuine SO-101 driver flies on an
emulated servo bus, where faults of the bus are real. With it the very same rows fly that arm: it
moves by 0.4 rad about its middle, after an operator has agreed; faults that need hands are left
out and said so. States, limits, replay and torque are asserted always, times unless `--loose`.
A row that fails on times is flown once more, and both are told: a busy machine is no quiet one.
Ends with one JSON line; exit status 1 when a row fails twice.
"""

if __name__ == "__main__":
    # Processes that a flight starts import this module anew: it stays light.
    from benchmarks.fault_table import main

    main()
