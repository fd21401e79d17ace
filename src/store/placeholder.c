/* placeholder until the folder has its first module */
extern int store_placeholder_;
int store_placeholder_;
