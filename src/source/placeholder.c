/* placeholder until the folder has its first module */
extern int source_placeholder_;
int source_placeholder_;
