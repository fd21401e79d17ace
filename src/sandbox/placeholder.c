/* placeholder until the folder has its first module */
extern int sandbox_placeholder_;
int sandbox_placeholder_;
