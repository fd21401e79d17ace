/* placeholder until the folder has its first module */
extern int solve_placeholder_;
int solve_placeholder_;
