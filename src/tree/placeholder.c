/* placeholder until the folder has its first module */
extern int tree_placeholder_;
int tree_placeholder_;
