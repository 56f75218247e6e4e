"""What is alive: the table in which both streams meet, generations, and the loops they run on."""
